"""Suites: named augmentations in a fixed order, ready to draw, to be written down, and to be drawn again."""

import contextlib
import copy
import functools
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from embedshift.arrays import Pixels, Values
from embedshift.augmentations import transforms
from embedshift.augmentations.transforms import Transform
from embedshift.config import Json
from embedshift.errors import EmbedshiftError, UsageError, reason
from embedshift.registry import Registry, fingerprint

log = logging.getLogger(__name__)

ORIGINAL = "original"


@dataclass(frozen=True)
class Augmentation:
    """One way to change an image.

    Args:
        name: What rows, tables and figures call its views.
        transform: An albumentations transform, or a callable `(image uint8 [S, S, 3], rng) -> uint8 [S, S, 3]`.
        group: The family that it belongs to, where several differ in strength alone; "" = a family of its own.
        severity: Its level in the family, from 1; 0 = it has none.
        version: Of a callable of a built-in suite, which is known by its name and this number; None = the user's own,
            known by its code.
    """

    name: str
    transform: Transform
    group: str = ""
    severity: int = 0
    version: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or self.name in (ORIGINAL, "augmentation"):
            raise UsageError(f"augmentations: {self.name!r} cannot be a name; choose another")
        if not callable(self.transform):
            raise UsageError(
                f"augmentation {self.name!r}: give an albumentations transform or a callable (image, rng) -> image"
            )

    def describe(self) -> Json:
        """What it is, as JSON: equal descriptions draw equal views, but for what a callable reads from outside."""
        more = {"group": self.group} if self.group else {}
        more |= {"severity": self.severity} if self.severity else {}  # type: ignore[dict-item]
        if not transforms.is_transform(self.transform):
            if self.version is not None:
                return {"built_in": self.name, "version": self.version, **more}
            return {"callable": fingerprint(self.transform), **more}
        try:
            return {"albumentations": transforms.to_dict(self.transform), **more}
        except Exception as error:
            raise UsageError(
                f"augmentation {self.name!r}: give a callable (image, rng) -> image instead ({reason(error)})"
            ) from error

    def draw(self, image: Pixels, seed: int) -> Pixels:
        """One view of `image` uint8 `[S, S, 3]`, decided by `seed` alone.

        Raises:
            EmbedshiftError: when it fails, or returns another shape or dtype than it was given.
        """
        try:
            if transforms.is_transform(self.transform):
                view = transforms.apply(self.transform, image, seed)
            else:
                view = self.transform(image.copy(), np.random.default_rng(seed))
        except Exception as error:
            raise EmbedshiftError(f"augmentation {self.name!r} failed: {reason(error)}") from error
        if not isinstance(view, np.ndarray) or view.shape != image.shape or view.dtype != np.uint8:
            found = f"{view.dtype} {view.shape}" if isinstance(view, np.ndarray) else type(view).__name__
            raise EmbedshiftError(f"augmentation {self.name!r} returned {found}; it must be uint8 {image.shape}")
        return cast(Pixels, view)

    def warp(self, image: Pixels, values: Values, seed: int) -> Values:
        """`values`, one for each pixel, moved as the view of `image` with the same seed moved its pixels.

        Args:
            image: The original view, uint8 `[S, S, 3]`.
            values: `[S, S]`.
            seed: The view's seed.

        Returns:
            float64 `[S, S]`, NaN where the view shows nothing of the original; as they were for an augmentation that
            moves nothing (colours, noise, blur, dropout); all NaN for a callable, which may move anything anywhere.

        Raises:
            EmbedshiftError: when the augmentation cannot be drawn again on numbers that are no colours.

        Example:
            >>> flip = Augmentation("flip", transforms.make("HorizontalFlip"))
            >>> flip.warp(np.zeros((1, 3, 3), np.uint8), np.array([[1.0, 2, 3]]), 0)
            array([[3., 2., 1.]])
        """
        if not transforms.is_transform(self.transform):
            return np.full_like(values, np.nan)
        if self._mover is None:
            return values
        try:
            return transforms.move(self._mover, image, values, seed)
        except Exception as error:
            raise EmbedshiftError(
                f"augmentation {self.name!r} cannot move an attention map ({reason(error)}): leave out aligned metrics"
            ) from error

    @functools.cached_property
    def _mover(self) -> Transform:
        return transforms.mover_of(self.transform)


SUITES: Registry[Callable[[], Sequence[Augmentation]]] = Registry("augmentation suite")


@dataclass(frozen=True)
class Suite:
    """Augmentations in a fixed order, with different names.

    Example:
        >>> Suite([Augmentation("mirror", lambda image, rng: image[:, ::-1])]).names
        ('mirror',)
    """

    augmentations: Sequence[Augmentation]
    _by_name: dict[str, Augmentation] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        if not self.augmentations:
            raise UsageError("augmentations: give at least one")
        for each in self.augmentations:
            if each.name in self._by_name:
                raise UsageError(f"augmentations: two are called {each.name!r}; rename one")
            self._by_name[each.name] = each

    def __iter__(self) -> Iterator[Augmentation]:
        return iter(self.augmentations)

    def __getitem__(self, name: str) -> Augmentation:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in suite order: the order of every table and figure."""
        return tuple(self._by_name)

    def describe(self) -> dict[str, Json]:
        """Name → `Augmentation.describe`."""
        return {each.name: each.describe() for each in self.augmentations}


def load_suite(augmentations: str | Mapping[str, Transform]) -> Suite:
    """The suite of a registered name, or of the user's own dict.

    Albumentations transforms are copied and their own `p` is set to 1: a view that is left alone by chance would
    count as an encoder that does not move.

    Example:
        >>> load_suite("paper").names[-1]
        'coarse_dropout'
    """
    if isinstance(augmentations, str):
        return Suite(SUITES[augmentations]())
    if not isinstance(augmentations, Mapping):
        raise UsageError("augmentations: give the name of a suite, or a dict of name -> transform")
    return Suite([Augmentation(name, _always(name, transform)) for name, transform in augmentations.items()])


def rebuild_suite(description: Mapping[str, Mapping[str, Any]]) -> Suite | None:
    """The suite of a stored description, without the user's own callables and classes; None where none is left.

    Example:
        >>> rebuild_suite(load_suite("paper").describe()).names == load_suite("paper").names
        True
    """
    rebuilt: list[Augmentation] = []
    for name, entry in description.items():
        if "built_in" in entry:
            known = (each for suite in SUITES for each in SUITES[suite]() if each.describe() == dict(entry))
            rebuilt += itertools.islice(known, 1)
            continue
        # KeyError: no description of albumentations, or of a class that only the user's own program knows.
        with contextlib.suppress(KeyError):
            transform = transforms.from_dict(entry["albumentations"])
            more = {key: entry[key] for key in ("group", "severity") if key in entry}
            rebuilt.append(Augmentation(name, transform, **more))
    return Suite(rebuilt) if rebuilt else None


def _always(name: str, transform: Transform) -> Transform:
    if not transforms.is_transform(transform):
        return transform
    transform = copy.deepcopy(transform)
    if transform.p != 1:
        log.warning("augmentation %r has p = %s: it is drawn always (p = 1)", name, transform.p)
        transform.p = 1.0
    return transform
