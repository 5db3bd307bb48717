"""From which score on is it the same image?"""

from dataclasses import dataclass

from embedshift.registry import COMMANDS, QUESTIONS, Command, Question


@dataclass(frozen=True)
class Choices:
    """What a threshold has to hold. Where nothing is given, all is as it was for the kept tables.

    Args:
        wrong_queries: The fraction of queries without a match that may get one; None = 0.05.
        wrong_flags: The fraction of flagged queries that may have no match, in place of `wrong_queries`.
        confidence: The probability that `wrong_queries` holds for this calibration; None = it holds on average.
        gallery: More images to search among: a study, a file of vectors.
        measured: Whether the tables are made where they are missing.
    """

    wrong_queries: float | None = None
    wrong_flags: float | None = None
    confidence: float | None = None
    gallery: str | None = None
    measured: bool = False


SENTENCE = "From which score on is it the same image?"
FIGURES = {"threshold": ("30", "Matches found and queries with a false match")}
QUESTIONS.add("threshold", Question(__name__, SENTENCE, order=17, choices=Choices, figures=FIGURES))

COMMAND = "Choose the score from which two images count as the same, at an error rate that you set."
COMMANDS.add("threshold", Command(__name__, COMMAND, order=11))
