"""At which block of the encoder does an augmentation bite?"""

from dataclasses import dataclass

from embedshift.registry import QUESTIONS, Question, setting


@dataclass(frozen=True)
class Switches:
    """The question's settings for a run."""

    layers: bool = setting(False, "Also the shift after every block of the encoder.")


FIGURES = {
    "depth": ("10", "Shift by depth: after every block of the encoder"),
}
QUESTIONS.add(
    "layers",
    Question(
        __name__,
        "At which block of the encoder does an augmentation bite?",
        place=70,
        switches=Switches,
        is_asked=lambda switches: switches.layers,
        figures=FIGURES,
    ),
)
