"""How far does the worst change within a budget move the embedding, and what do purifiers undo?"""

from embedshift.registry import QUESTIONS, Question

QUESTIONS.add(
    "worst",
    Question(
        __name__,
        "How far does the worst change within a budget move the embedding, and what do purifiers undo?",
        place=16,
    ),
)
