"""Which augmentation changes most, by all similarities together?"""

from embedshift.registry import QUESTIONS, Question

FIGURES = {
    "heatmap": ("03", "What each augmentation leaves as it was, least changed first"),
    "radar": ("05", "Every augmentation between the best and the worst of all"),
    "profile": ("06", "Profile of every augmentation, from least to most changed"),
    "metric_bars": ("08b", "Every metric, every augmentation, and the average of each metric"),
}
QUESTIONS.add(
    "profile",
    Question(__name__, "Which augmentation changes most, by all similarities together?", place=40, figures=FIGURES),
)
