"""Which images moved most, typically and least?"""

from embedshift.registry import QUESTIONS, Question

FIGURES = {
    "views": ("04a", "An image and its augmented views"),
}
QUESTIONS.add("moved", Question(__name__, "Which images moved most, typically and least?", place=90, figures=FIGURES))
