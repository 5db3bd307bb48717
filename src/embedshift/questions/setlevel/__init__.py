"""What happens to the set of images as a whole?"""

from embedshift.registry import QUESTIONS, Question

QUESTIONS.add("setlevel", Question(__name__, "What happens to the set of images as a whole?", place=57))
