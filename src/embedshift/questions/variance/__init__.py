"""How much do images differ, and how much the draws of one image?"""

from embedshift.registry import QUESTIONS, Question

SENTENCE = "How much do images differ, and how much the draws of one image?"
QUESTIONS.add("variance", Question(__name__, SENTENCE, order=58, for_pairs=False))
