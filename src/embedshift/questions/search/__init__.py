"""Does a search still find the image?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embedshift.registry import COMMANDS, QUESTIONS, Command, Question


@dataclass(frozen=True)
class Choices:
    """Settings of the search when its tables are made; None keeps the previous value, or the default.

    Args:
        queries: How many images search, in the order drawn by the seed; "all" = every one.
        false_match_rate: Rates of false matches, each above 0 and below 1, at which thresholds are set.
        gallery: More images to search among: another study, or a Parquet or npy file of their vectors; "none" = none.
        threshold: The cosine from which images count as duplicates; None = by `expected_false`.
        expected_false: The expected number of pairs of different images among the duplicates that are listed.
        memory: Gigabytes that the index in memory takes at most.
    """

    queries: str | int | None = None
    false_match_rate: float | str | Sequence[float | str] | None = None
    gallery: str | Path | None = None
    threshold: float | None = None
    expected_false: float | None = None
    memory: float | None = None


SENTENCE = "Does image search still find the original, and which images are duplicates?"
FIGURES = {
    "recall": ("18", "How often a search finds the original of a view"),
    "gallery": ("19", "Search in larger galleries: how often the original ranks first"),
    "roc": ("20", "Duplicate detection: matched views against false matches"),
}
QUESTIONS.add("search", Question(__name__, SENTENCE, order=16, choices=Choices, for_originals=True, figures=FIGURES))

COMMAND = "Test whether image search still finds the original of a changed image, and list likely duplicates."
COMMANDS.add("search", Command(__name__, COMMAND, order=10, methods=("between",)))
