from embedshift.registry import QUESTIONS, Question

FIGURES = {
    "l2_density": ("04b", "L2 distance from the original: density"),
    "cosine_histogram": ("04c", "Cosine similarity with the original: histogram"),
    "l2_bars": ("07", "Mean L2 distance from the original"),
    "sample_heatmap": ("09", "Cosine similarity with the original, by image"),
    "ruler": ("15", "How far the embedding moves, as a relative shift: 0 = unchanged, 1 = as far as another image"),
}
QUESTIONS.add("embedding", Question(__name__, "How far does the embedding move?", order=10, figures=FIGURES))
