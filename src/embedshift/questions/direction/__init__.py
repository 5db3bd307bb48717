from embedshift.registry import QUESTIONS, Question

FIGURES = {"directions": ("14", "In which direction augmentations move the embedding: cosine between shifts")}
SENTENCE = "In which direction does an augmentation move the embedding?"
QUESTIONS.add("direction", Question(__name__, SENTENCE, order=45, figures=FIGURES))
