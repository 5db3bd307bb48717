"""At which strength does the embedding give way?"""

from embedshift.registry import QUESTIONS, Question

FIGURES = {
    "strength": ("16", "How far the embedding moves at every strength"),
    "tolerance": ("17", "How strong a change the embedding tolerates"),
}
QUESTIONS.add(
    "strength",
    Question(__name__, "At which strength of a change does the embedding give way?", place=15, figures=FIGURES),
)
