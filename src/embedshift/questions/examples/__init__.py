from embedshift.registry import QUESTIONS, Question

FIGURES = {"pipeline": ("02", "One image through the pipeline"), "views": ("04a", "An image and its augmented views")}
SENTENCE = "Which images have the largest, a typical and the smallest shift?"
QUESTIONS.add("examples", Question(__name__, SENTENCE, order=90, figures=FIGURES))
