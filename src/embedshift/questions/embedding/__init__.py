"""How far does the embedding move?"""

from embedshift.registry import QUESTIONS, Question

QUESTIONS.add("embedding", Question(__name__, "How far does the embedding move?", place=10))
