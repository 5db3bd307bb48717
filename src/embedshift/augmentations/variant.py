"""Variants: views that another program made and that are read, not drawn; and views purified from them."""

import dataclasses
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
    """A version of every image that another program made, or `embedshift views`, whose seeds are then known."""

    transform: Transform = read_only
    bytes_hash: str = ""
    missing: int = 0
    description: str = "Made by another program"
    from_views_file: bool = False

    def describe(self) -> Json:
        """Returns its description as JSON, with the number of missing images if there are any, and its family."""
        described: Json = {"variant": self.name, "hash": self.bytes_hash}
        described |= {"missing": self.missing} if self.missing else {}
        return described | ({"grade": dataclasses.asdict(self.grade)} if self.grade else {})


@dataclass(frozen=True)
class Purified(Variant):
    """The original, or a variant, after a purifier; computed from the views that are read."""

    source: str = ORIGINAL
    purifier: str = ""

    @classmethod
    def make(cls, source: str, name: str, **fields: Any) -> "Purified":
        description = f"The {source if source == ORIGINAL else f'view {source}'} after {name}"
        return cls(f"{source}+{name}", purifier(name), source=source, purifier=name, description=description, **fields)

    def describe(self) -> Json:
        variant = {} if self.source == ORIGINAL else super().describe() | {"variant": self.source}
        return {**variant, "of": self.source, "purifier": self.purifier, "version": 1}


def with_purified(variants: Sequence[Variant], purifiers: Sequence[str]) -> Iterator[Variant]:
    """Yields the variants, then the original after each purifier, then every variant after each purifier."""
    yield from variants
    yield from (Purified.make(ORIGINAL, name) for name in purifiers)
    for variant in variants:
        for name in purifiers:
            yield Purified.make(variant.name, name, bytes_hash=variant.bytes_hash, missing=variant.missing)


def purified_of(described: Mapping[str, Any]) -> Purified | None:
    """Returns the purified views of a description; None for another kind of description or another version."""
    if "purifier" not in described or described["version"] != 1:
        return None
    try:
        return Purified.make(described["of"], described["purifier"])
    except UsageError:
        return None
