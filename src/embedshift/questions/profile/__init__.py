from embedshift.registry import QUESTIONS, Question

FIGURES = {
    "heatmap": ("03", "Means of all similarity metrics, least changed first"),
    "radar": ("05", "Radar chart of every augmentation, with the range of all augmentations"),
    "profile": ("06", "Profile of every augmentation, from least to most changed"),
    "metric_bars": ("08b", "Every metric by augmentation, with the average of each metric"),
}
SENTENCE = "Which augmentation changes most in all similarity metrics together?"
QUESTIONS.add("profile", Question(__name__, SENTENCE, order=20, figures=FIGURES))
