"""How much of the image itself does an augmentation change?"""

from embedshift.registry import QUESTIONS, Question

QUESTIONS.add("pixels", Question(__name__, "How much of the image itself does an augmentation change?", place=30))
