"""Would a linear map make the embeddings less sensitive to changes?"""

from dataclasses import dataclass

from embedshift.registry import COMMANDS, QUESTIONS, Command, Question


@dataclass(frozen=True)
class Choices:
    """Whether the table is made; if not, it is there only where it was made before, as it takes long."""

    measured: bool = False


SENTENCE = "Would whitening make the embeddings less sensitive to changes?"
QUESTIONS.add("whitening", Question(__name__, SENTENCE, order=18, choices=Choices))

COMMAND = "Fit a linear map that makes embeddings less sensitive to changes; show what a search finds with it."
COMMANDS.add("whiten", Command(__name__, COMMAND))
