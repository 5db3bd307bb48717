"""After which block of the encoder does the shift appear?"""

from dataclasses import dataclass

from embedshift.registry import QUESTIONS, Question, setting


@dataclass(frozen=True)
class Switches:
    layers: bool = setting(False, "Measure the shift after every block of the encoder.")


FIGURES = {"depth": ("10", "Shift after every block of the encoder")}
QUESTIONS.add(
    "layers",
    Question(
        __name__,
        "After which block of the encoder does the shift appear?",
        order=60,
        switches=Switches,
        is_asked=lambda switches: switches.layers,
        figures=FIGURES,
    ),
)
