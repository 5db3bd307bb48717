"""A variant: a change that something else made, so that its views are read and never drawn."""

from dataclasses import dataclass

import numpy as np

from embedshift.arrays import Pixels
from embedshift.augmentations.augmentation import Augmentation
from embedshift.augmentations.transforms import Transform
from embedshift.config import Json
from embedshift.errors import EmbedshiftError


def read_only(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Refuses: nobody knows how the view was made."""
    raise EmbedshiftError("a variant is read from its source, and cannot be drawn")


@dataclass(frozen=True)
class Variant(Augmentation):
    """What something else made of every image.

    How it moves things is not known: what needs that is NaN, as for a user's own callable.

    Args:
        name: What rows, tables and figures call it.
        transform: Refuses.
        bytes_hash: Over the bytes of all variants.
        missing: Images that are measured without one.

    Example:
        >>> Variant("q50", bytes_hash="5f").describe()
        {'variant': 'q50', 'hash': '5f'}
    """

    transform: Transform = read_only
    bytes_hash: str = ""
    missing: int = 0

    def describe(self) -> Json:
        """What it is, as JSON; where images are measured without it, how many."""
        return {"variant": self.name, "hash": self.bytes_hash} | ({"missing": self.missing} if self.missing else {})
