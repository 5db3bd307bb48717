"""Which augmentation changes most, by all similarities together?"""

from embedshift.registry import QUESTIONS, Question

QUESTIONS.add("profile", Question(__name__, "Which augmentation changes most, by all similarities together?", place=40))
