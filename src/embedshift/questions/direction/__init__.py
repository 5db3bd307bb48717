"""Which way does an augmentation move the embedding?"""

from embedshift.registry import QUESTIONS, Question

QUESTIONS.add("direction", Question(__name__, "Which way does an augmentation move the embedding?", place=55))
