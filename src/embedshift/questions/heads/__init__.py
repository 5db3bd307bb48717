"""Which heads and layers carry the shift?"""

from dataclasses import dataclass
from typing import Literal

from embedshift.registry import QUESTIONS, Question, setting


@dataclass(frozen=True)
class Switches:
    """The question's settings for a run."""

    heads: bool = setting(False, "Split the shift by the heads and MLPs of the encoder.")
    heads_detail: Literal["tokens", "route"] | None = setting(None, "More detail: tokens or route.", rare=True)
    bank: str | None = setting(None, "File of texts, one per line, that describe the heads.", rare=True)


FIGURES = {
    "heads_map": ("21", "Which heads and MLPs carry the shift"),
    "heads_bars": ("22", "How much of the shift heads, MLPs and input carry"),
    "heads_depth": ("23", "At which block the shift arises"),
    "head_tokens": ("24", "Attention weights or token values: what carries the shift"),
}
QUESTIONS.add(
    "heads",
    Question(
        __name__,
        "Which heads and layers carry the shift?",
        order=72,
        switches=Switches,
        is_asked=lambda switches: switches.heads or switches.heads_detail is not None or switches.bank is not None,
        figures=FIGURES,
    ),
)
