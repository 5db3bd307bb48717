"""Which way does an augmentation move the embedding?"""

from embedshift.registry import QUESTIONS, Question

FIGURES = {
    "directions": ("14", "Which way augmentations move the embedding: cosine between shifts"),
}
QUESTIONS.add(
    "direction", Question(__name__, "Which way does an augmentation move the embedding?", place=55, figures=FIGURES)
)
