"""How many images does a comparison need?"""

from dataclasses import dataclass

from embedshift.registry import COMMANDS, QUESTIONS, Command, Question


@dataclass(frozen=True)
class Choices:
    """What is to be found, and how surely; None keeps the previous value, or the default."""

    measured: bool = False
    ratio: float | None = None
    recall_loss: float | None = None
    power: float | None = None


SENTENCE = "How many images does a comparison need?"
FIGURES = {"power": ("28", "How many images each comparison needs")}
QUESTIONS.add("power", Question(__name__, SENTENCE, order=19, choices=Choices, figures=FIGURES))

COMMAND = "Plan how many images a comparison of augmentations or encoders needs, with a study as the pilot."
COMMANDS.add("power", Command(__name__, COMMAND, order=15))
