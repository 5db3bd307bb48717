"""A variant: a change that something else made, so that its views are read and never drawn; and views made from it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from embedshift.arrays import Pixels
from embedshift.augmentations.augmentation import ORIGINAL, Augmentation
from embedshift.augmentations.purifiers import purifier
from embedshift.augmentations.transforms import Transform
from embedshift.config import Json
from embedshift.errors import EmbedshiftError, UsageError


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


@dataclass(frozen=True)
class Purified(Variant):
    """The image, or a variant of it, after a purifier; the views are made from those that are read.

    Args:
        of: "original", or the name of the variant.
        purifier: The purifier's name.

    Example:
        >>> Purified.made("q50", "jpeg:50").name, Purified.made("original", "bits:4").describe()
        ('q50+jpeg:50', {'of': 'original', 'purifier': 'bits:4', 'version': 1})
    """

    of: str = ORIGINAL
    purifier: str = ""

    @classmethod
    def made(cls, of: str, name: str, **more: Any) -> "Purified":
        """With the name that its views are called by."""
        return cls(f"{of}+{name}", purifier(name), of=of, purifier=name, **more)

    def describe(self) -> Json:
        """What it is, as JSON."""
        source = {} if self.of == ORIGINAL else super().describe() | {"variant": self.of}
        return {**source, "of": self.of, "purifier": self.purifier, "version": 1}


def with_purified(variants: Sequence[Variant], purifiers: Sequence[str]) -> Iterator[Variant]:
    """Variants, then the image after each purifier, and then every variant after each.

    Example:
        >>> [each.name for each in with_purified([Variant("q50")], ["jpeg:50"])]
        ['q50', 'original+jpeg:50', 'q50+jpeg:50']
    """
    yield from variants
    yield from (Purified.made(ORIGINAL, name) for name in purifiers)
    for each in variants:
        for name in purifiers:
            yield Purified.made(each.name, name, bytes_hash=each.bytes_hash, missing=each.missing)


def purified_of(described: Mapping[str, Any]) -> Purified | None:
    """The purified views that a description is of; None where it is of something else, or of another version."""
    if "purifier" not in described or described["version"] != 1:
        return None
    try:
        return Purified.made(described["of"], described["purifier"])
    except UsageError:
        return None
