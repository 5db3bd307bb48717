"""Does a search still find the image?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embedshift.registry import QUESTIONS, Question


@dataclass(frozen=True)
class Choices:
    """Settings of the search when its tables are made; None keeps the previous value, or the default.

    Args:
        queries: How many images to search with, in the study's order: a number, or "all".
        fmr: False-match rates of the thresholds for duplicates.
        gallery: More images to search among: another study, or a Parquet or npy file of vectors; "" = none.
    """

    queries: str | int | None = None
    fmr: Sequence[float | str] | None = None
    gallery: str | Path | None = None


SENTENCE = "Does image search still find the original, and which images are duplicates?"
FIGURES = {
    "recall": ("18", "How often a search finds the original of a view"),
    "gallery": ("19", "Search in larger galleries: how often the original ranks first"),
    "roc": ("20", "Duplicate detection: matched views against false matches"),
}
QUESTIONS.add("search", Question(__name__, SENTENCE, place=16, choices=Choices, figures=FIGURES))
