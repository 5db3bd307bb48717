"""Does the encoder still look at the same places?"""

from embedshift.registry import QUESTIONS, Question

QUESTIONS.add("attention", Question(__name__, "Does the encoder still look at the same places?", place=20))
