"""Does a search still find the image?"""

from dataclasses import dataclass

from embedshift.registry import QUESTIONS, Question


@dataclass(frozen=True)
class Choices:
    """Settings of the search when its tables are made; None keeps the previous value, or the default."""

    queries: str | None = None
    false_match_rate: tuple[float | str, ...] | None = None
    gallery: str | None = None


SENTENCE = "Does image search still find the original, and which images are duplicates?"
FIGURES = {
    "recall": ("18", "How often a search finds the original of a view"),
    "gallery": ("19", "Search in larger galleries: how often the original ranks first"),
    "roc": ("20", "Duplicate detection: matched views against false matches"),
}
QUESTIONS.add("search", Question(__name__, SENTENCE, order=12, choices=Choices, figures=FIGURES))
