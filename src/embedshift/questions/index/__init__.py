"""Which index may a store keep?"""

from collections.abc import Sequence
from dataclasses import dataclass

from embedshift.registry import COMMANDS, QUESTIONS, Command, Question


@dataclass(frozen=True)
class Choices:
    """The indexes to try, and how. Where nothing is given, all is as it was for the kept table.

    Args:
        indexes: Texts such as "whiten+binary"; None = about ten that need no extra.
        gallery: More vectors to search among: a study, a file of vectors.
        recall_margin: How much of recall@1 may be lost under any change; None = 0.01.
        false_match_rate: The fraction of pairs of different images that may match; None = 0.001.
        measured: Whether the table is made where it is missing.
    """

    indexes: str | Sequence[str] | None = None
    gallery: str | None = None
    recall_margin: float | None = None
    false_match_rate: float | None = None
    measured: bool = False


SENTENCE = "Which index may a store keep?"
FIGURES = {"index": ("32", "Bytes of an image and what a search misses")}
QUESTIONS.add("index", Question(__name__, SENTENCE, order=18, choices=Choices, figures=FIGURES))

COMMAND = "Choose the smallest search index (map, code, scores) that still finds changed images as well."
COMMANDS.add("index", Command(__name__, COMMAND, order=12))
