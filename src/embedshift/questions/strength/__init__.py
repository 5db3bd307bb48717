"""At which strength does the embedding give way?"""

from embedshift.registry import QUESTIONS, Question

FIGURES = {
    "strength": ("16", "How far the embedding moves, by strength"),
    "tolerance": ("17", "How strong a change the embedding tolerates"),
}
SENTENCE = "How strong a change does the embedding tolerate?"
QUESTIONS.add("strength", Question(__name__, SENTENCE, order=15, figures=FIGURES))
