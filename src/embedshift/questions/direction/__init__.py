"""In which direction does an augmentation move the embedding?"""

from embedshift.registry import QUESTIONS, Question

FIGURES = {"directions": ("14", "In which direction augmentations move the embedding: cosine between shifts")}
QUESTIONS.add(
    "direction",
    Question(__name__, "In which direction does an augmentation move the embedding?", order=45, figures=FIGURES),
)
