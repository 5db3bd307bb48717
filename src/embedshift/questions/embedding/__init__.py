"""How far does the embedding move?"""

from embedshift.registry import QUESTIONS, Question

FIGURES = {
    "l2_density": ("04b", "How far embeddings move: density of the L2 distance to the original"),
    "cosine_histogram": ("04c", "How far embeddings turn: cosine similarity with the original"),
    "l2_bars": ("07", "Mean L2 distance from the original embedding"),
    "sample_heatmap": ("09", "Cosine similarity with the original, image by image"),
    "ruler": ("15", "How far embeddings move: 0 = the same image, 1 = an unrelated image"),
}
QUESTIONS.add("embedding", Question(__name__, "How far does the embedding move?", place=10, figures=FIGURES))
