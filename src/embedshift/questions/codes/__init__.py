"""What may a store keep of the vectors?"""

from collections.abc import Sequence
from dataclasses import dataclass

from embedshift.registry import COMMANDS, QUESTIONS, Command, Question


@dataclass(frozen=True)
class Choices:
    """Which codes are tried, and on what. Where nothing is given, all is as it was for the kept table.

    Args:
        codes: Names of codes, or text with commas between them; None = all that need no FAISS.
        gallery: More vectors to search among: a study, a file of vectors.
        recall_margin: How much of recall@1 may be lost; None = 0.01.
        measured: Whether the table is made where it is missing.
    """

    codes: str | Sequence[str] | None = None
    gallery: str | None = None
    recall_margin: float | None = None
    measured: bool = False


SENTENCE = "What may a store keep of the vectors?"
FIGURES = {"codes": ("30", "Bytes of a vector and recall@1")}
QUESTIONS.add("codes", Question(__name__, SENTENCE, order=18, choices=Choices, figures=FIGURES))

COMMAND = "Say what a store may keep of the vectors - int8, signs, fewer numbers - if queries are changed images."
COMMANDS.add("codes", Command(__name__, COMMAND))
