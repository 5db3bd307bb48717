"""Does the encoder still look at the same places?"""

from embedshift.registry import QUESTIONS, Question

FIGURES = {
    "attention": ("01", "Where the encoder looks"),
    "attention_change": ("11", "Does the encoder still look at the same things?"),
}
QUESTIONS.add(
    "attention", Question(__name__, "Does the encoder still look at the same places?", place=20, figures=FIGURES)
)
