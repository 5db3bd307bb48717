"""What does a direction of the embedding stand for?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embedshift.registry import COMMANDS, QUESTIONS, Command, Question

AUGMENTATIONS, GROUPS, MAP = "augmentations", "groups", "map"
FEATURES = (AUGMENTATIONS, GROUPS, MAP)
PROPERTIES = (
    "brightness", "contrast", "saturation", "warmth", "sharpness", "edge_density", "border_flatness", "noise", "width",
    "height", "bytes_per_pixel",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Choices:
    """What is explained, and by what. Where nothing is given, all is as it was for the kept table.

    Args:
        features: One of `FEATURES`; None = "augmentations".
        between: Pairs of augmentations, or families, whose difference is explained too: "A,B" or (A, B) is A − B.
        properties: A frame with the column `image_id` and columns of numbers, or its file, CSV or Parquet: in addition
            to those of the rows.
        words: Words, or a file of words, one a line, or of the columns `image_id` and `word`; or a mapping of words to
            image ids, as `embedshift.name_images` returns it. None = those of captions and folders.
        measured: Whether the table is made where it is missing.
    """

    features: str | None = None
    between: str | Sequence[str | Sequence[str]] = ()
    properties: Any = None
    words: str | Sequence[str] | Mapping[str, Sequence[str]] | None = None
    measured: bool = False

    @property
    def is_given(self) -> bool:
        """Whether anything but `measured` is chosen."""
        given = (self.features, self.properties, self.words)
        return bool(self.between) or any(each is not None for each in given)


SENTENCE = "What does a direction stand for?"
FIGURES = {"meaning": ("29", "What directions of the embedding stand for")}
QUESTIONS.add("meaning", Question(__name__, SENTENCE, order=52, choices=Choices, figures=FIGURES))

COMMAND = "Say what directions stand for: properties, words and images, each beside random directions."
COMMANDS.add("explain", Command(__name__, COMMAND, panel="Look inside", order=11))
