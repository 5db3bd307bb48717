"""Variants: views that another program made and that are read, not drawn; and views purified from them."""

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
    """Raises: a variant is read and cannot be drawn."""
    raise EmbedshiftError("a variant is read from its source, and cannot be drawn")


@dataclass(frozen=True)
class Variant(Augmentation):
    """A version of every image that another program made."""

    transform: Transform = read_only
    bytes_hash: str = ""
    missing: int = 0

    def describe(self) -> Json:
        """Returns its description as JSON, with the number of missing images if there are any."""
        return {"variant": self.name, "hash": self.bytes_hash} | ({"missing": self.missing} if self.missing else {})


@dataclass(frozen=True)
class Purified(Variant):
    """The original, or a variant, after a purifier; computed from the views that are read."""

    of: str = ORIGINAL
    purifier: str = ""

    @classmethod
    def made(cls, of: str, name: str, **more: Any) -> "Purified":
        """Makes purified views under their standard name."""
        return cls(f"{of}+{name}", purifier(name), of=of, purifier=name, **more)

    def describe(self) -> Json:
        """Returns its description as JSON."""
        source = {} if self.of == ORIGINAL else super().describe() | {"variant": self.of}
        return {**source, "of": self.of, "purifier": self.purifier, "version": 1}


def with_purified(variants: Sequence[Variant], purifiers: Sequence[str]) -> Iterator[Variant]:
    """Yields the variants, then the original after each purifier, then every variant after each purifier."""
    yield from variants
    yield from (Purified.made(ORIGINAL, name) for name in purifiers)
    for each in variants:
        for name in purifiers:
            yield Purified.made(each.name, name, bytes_hash=each.bytes_hash, missing=each.missing)


def purified_of(described: Mapping[str, Any]) -> Purified | None:
    """Returns the purified views of a description; None for another kind of description or another version."""
    if "purifier" not in described or described["version"] != 1:
        return None
    try:
        return Purified.made(described["of"], described["purifier"])
    except UsageError:
        return None
