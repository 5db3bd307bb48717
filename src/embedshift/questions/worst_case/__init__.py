"""How far does the worst change within a budget move the embedding, and how much do purifiers undo?"""

from embedshift.registry import QUESTIONS, Question

SENTENCE = "How far does the worst change within a budget move the embedding, and how much do purifiers undo?"

QUESTIONS.add("worst_case", Question(__name__, SENTENCE, order=16))
