"""How much does an augmentation change the pixels?"""

from embedshift.registry import QUESTIONS, Question

QUESTIONS.add("pixels", Question(__name__, "How much does an augmentation change the pixels?", order=30))
