"""A question of another package: which block adds most to the shift?"""

from dataclasses import dataclass

from embedshift.registry import COMMANDS, QUESTIONS, Command, Question, setting


@dataclass(frozen=True)
class Switches:
    """Settings of a run."""

    jumps: bool = setting(False, "Also what every block adds to the shift.", rare=True)


QUESTIONS.add(
    "embedshift_jumps",
    Question(
        __name__,
        "Which block adds most to the shift?",
        order=75,
        switches=Switches,
        is_asked=lambda switches: switches.jumps,
        figures={"jumps": ("90", "What every block adds to the shift")},
    ),
)
COMMANDS.add("jumps", Command(__name__, "Print what every block adds to the shift.", panel="Look inside"))
