"""Which heads and layers carry the shift?"""

from dataclasses import dataclass
from typing import Literal

from embedshift.registry import QUESTIONS, Question, setting


@dataclass(frozen=True)
class Switches:
    """The question's settings for a run."""

    heads: bool = setting(False, "Also which heads and MLPs carry the shift.")
    heads_detail: Literal["tokens", "route"] | None = setting(None, "tokens, or route: more on heads.", rare=True)
    bank: str | None = setting(None, "A file of words, one a line, to name heads by.", rare=True)


FIGURES = {
    "heads_map": ("21", "Which heads and MLPs carry the shift"),
    "heads_bars": ("22", "How much of the shift each part carries"),
    "heads_depth": ("23", "At which block the shift comes in"),
    "head_tokens": ("24", "Looking elsewhere, or finding something else"),
}
QUESTIONS.add(
    "heads",
    Question(
        __name__,
        "Which heads and layers carry the shift?",
        place=72,
        switches=Switches,
        is_asked=lambda switches: switches.heads or switches.heads_detail is not None or switches.bank is not None,
        figures=FIGURES,
    ),
)
