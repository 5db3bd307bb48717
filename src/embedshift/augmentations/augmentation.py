"""One augmentation: a name and a way to change an image, ready to draw, to be written down and to be drawn again."""

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from embedshift.arrays import Pixels, Values
from embedshift.augmentations import transforms
from embedshift.augmentations.chain import Chain
from embedshift.augmentations.changes import Geometry, Graded, grid
from embedshift.augmentations.transforms import Transform
from embedshift.config import Json
from embedshift.errors import EmbedshiftError, UsageError, reason
from embedshift.registry import fingerprint

ORIGINAL = "original"


@dataclass(frozen=True)
class Choice:
    """What is chosen of a suite whose augmentations come in families.

    Args:
        families: Names; none = the standard ones.
        levels: How many levels of each; None = the family's own.
        frost_textures: A folder with images of frost, for the corruption of that name.
    """

    families: tuple[str, ...] = ()
    levels: int | None = None
    frost_textures: str | None = None


@dataclass(frozen=True)
class Grade:
    """Where an augmentation stands in its family.

    Args:
        family: The family's name.
        level: From 1, the weakest.
        parameter: Its strength.
        unit: Of the parameter.
        zero: The parameter of level 0, the image itself.
    """

    family: str
    level: int
    parameter: float
    unit: str
    zero: float


@dataclass(frozen=True)
class Augmentation:
    """One way to change an image.

    Args:
        name: What rows, tables and figures call its views.
        transform: An albumentations transform, or a callable `(image uint8 [S, S, 3], rng) -> uint8 [S, S, 3]`.
        grade: Where it stands in its family; None = it has none.
        seeded_by: The name that the seeds of its views come from; "" = its own.
        version: Of a callable of a built-in suite, which is known by its name and this number; None = the user's own,
            known by its code.
        more: What else decides its views, as JSON.
    """

    name: str
    transform: Transform
    grade: Grade | None = None
    seeded_by: str = ""
    version: int | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or self.name in (ORIGINAL, "augmentation"):
            raise UsageError(f"augmentations: {self.name!r} cannot be a name; choose another")
        if not callable(self.transform):
            raise UsageError(
                f"augmentation {self.name!r}: give an albumentations transform or a callable (image, rng) -> image"
            )

    @property
    def seed_name(self) -> str:
        """What the seeds of its views come from."""
        return self.seeded_by or self.name

    def describe(self) -> Json:
        """What it is, as JSON: equal descriptions draw equal views, but for what a callable reads from outside."""
        more: Json = {"grade": dataclasses.asdict(self.grade)} if self.grade else {}
        more |= ({"seeded_by": self.seeded_by} if self.seeded_by else {}) | dict(self.more)
        if isinstance(self.transform, Chain):
            return self.transform.describe() | more
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
            EmbedshiftError: when it fails; UsageError: when it returns another shape or dtype than it was given.
        """
        try:
            if transforms.is_transform(self.transform):
                view = transforms.apply(self.transform, image.copy(), seed)
            else:
                view = self.transform(image.copy(), np.random.default_rng(seed))
        except Exception as error:
            raise EmbedshiftError(f"augmentation {self.name!r} failed: {reason(error)}") from error
        if not isinstance(view, np.ndarray) or view.shape != image.shape or view.dtype != np.uint8:
            found = f"{view.dtype} {view.shape}" if isinstance(view, np.ndarray) else type(view).__name__
            raise UsageError(f"augmentation {self.name!r} returned {found}; it must be uint8 {image.shape}")
        return cast(Pixels, view)

    def warp(self, image: Pixels, values: Values, seed: int) -> Values:
        """`values`, one for each pixel, moved as the view of `image` with the same seed moved its pixels.

        Args:
            image: The original view, uint8 `[S, S, 3]`.
            values: `[S, S]`.
            seed: The view's seed.

        Returns:
            float64 `[S, S]`, NaN where the view shows nothing of the original; as they were for an augmentation that
            moves nothing (colours, noise, blur, dropout); all NaN for a user's callable, which may move anything.

        Raises:
            EmbedshiftError: when the augmentation cannot be drawn again on numbers that are no colours.

        Example:
            >>> flip = Augmentation("flip", transforms.make("HorizontalFlip"))
            >>> flip.warp(np.zeros((1, 3, 3), np.uint8), np.array([[1.0, 2, 3]]), 0)
            array([[3., 2., 1.]])
        """
        if not transforms.is_transform(self.transform):
            geometry = self.geometry(image, seed)
            return np.full_like(values, np.nan) if geometry is None else geometry.move(values)
        if self._mover is None:
            return values
        try:
            return transforms.move(self._mover, image, values, seed)
        except Exception as error:
            raise EmbedshiftError(
                f"augmentation {self.name!r} cannot move an attention map ({reason(error)}): leave out aligned metrics"
            ) from error

    def moved_and_hidden(self, image: Pixels, seed: int) -> tuple[float, float]:
        """How far the view of `image` with this seed moves pixels, and how much of it shows something else.

        Args:
            image: The original view, uint8 `[S, S, 3]`.
            seed: The view's seed.

        Returns:
            Root mean square of the displacement over the side, and share of the pixels; NaN where it is not known.

        Example:
            >>> flip = Augmentation("flip", transforms.make("HorizontalFlip"))
            >>> moved, hidden = flip.moved_and_hidden(np.zeros((5, 5, 3), np.uint8), 0)
            >>> round(moved, 3), hidden
            (0.566, 0.0)
        """
        geometry = self.geometry(image, seed)
        return (np.nan, np.nan) if geometry is None else (geometry.displacement(), geometry.covered(len(image)))

    def geometry(self, image: Pixels, seed: int) -> Geometry | None:
        """Where the view of `image` with this seed shows what; None where a user's own callable has a part in it."""
        if isinstance(self.transform, Chain):
            return self.transform.geometry(image, np.random.default_rng(seed))
        if isinstance(self.transform, Graded):
            return self.transform.geometry(len(image), np.random.default_rng(seed))
        if not transforms.is_transform(self.transform):
            return None
        if self._coverer is None:
            return Geometry()
        places = np.moveaxis(grid(len(image)), 2, 0).astype(np.float64)
        moved = np.nan_to_num([self.warp(image, place, seed) for place in places], nan=np.inf)
        left = transforms.move(self._coverer, image, np.ones(image.shape[:2]), seed)
        return Geometry(np.moveaxis(moved.astype(np.float32), 0, 2), np.isnan(left))

    @functools.cached_property
    def _mover(self) -> Transform:
        return transforms.mover_of(self.transform)

    @functools.cached_property
    def _coverer(self) -> Transform:
        return transforms.mover_of(self.transform, covers=True)
