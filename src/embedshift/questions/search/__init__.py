"""Does a search still find the image?"""

from dataclasses import dataclass

from embedshift.registry import QUESTIONS, Question


@dataclass(frozen=True)
class Choices:
    """Settings of the search when its tables are made; None keeps the previous value, or the default.

    Args:
        queries: How many images to search with, in the study's order: a number, or "all".
        fmr: False-match rates of the thresholds for duplicates.
        gallery: More images to search among: another study, or a Parquet or npy file of vectors; "" = none.
    """

    queries: str | None = None
    fmr: tuple[float | str, ...] | None = None
    gallery: str | None = None


SENTENCE = "Does a search still find the image, and which images are duplicates?"
FIGURES = {
    "recall": ("18", "How often a search finds the original of a view"),
    "gallery": ("19", "How often a search among more images finds the original"),
    "roc": ("20", "Views that a threshold matches, against false matches"),
}
QUESTIONS.add("search", Question(__name__, SENTENCE, place=12, choices=Choices, figures=FIGURES))
