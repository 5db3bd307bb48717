"""`Augmentation`: a named, seeded change of an image."""

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import numpy as np

from embedshift.arrays import Pixels, Values
from embedshift.augmentations import transforms
from embedshift.augmentations.changes import Geometry, Traceable, grid, size_of
from embedshift.augmentations.transforms import Transform
from embedshift.config import Json, Level
from embedshift.errors import EmbedshiftError, UsageError, foreign_code, reason
from embedshift.registry import fingerprint


class Range(NamedTuple):
    """A range of numbers; `format(range, "%")` writes it in percent: ".44 to .88", "±12 %", "75"."""

    low: float
    high: float

    def __format__(self, spec: str) -> str:
        low, high = (plain(end * (100 if spec == "%" else 1)) for end in self)
        words = f"±{high}" if self.low == -self.high else high if self.low == self.high else f"{low} to {high}"
        return f"{words} %" if spec == "%" else words


Ranges = Mapping[str, Range | tuple[str, ...]]


def drawn(ranges: Ranges, rng: np.random.Generator) -> dict[str, Any]:
    """Draws every number uniformly within its range."""
    return {
        name: float(rng.uniform(*entry)) if isinstance(entry, Range) else entry[rng.integers(len(entry))]
        for name, entry in ranges.items()
    }


def plain(number: float) -> str:
    """Formats a number without trailing zeros or a zero before the point: ".44", "1,600"."""
    return f"{round(number, 10):,.6g}".replace("0.", ".", abs(number) < 1)


ORIGINAL = "original"


@dataclass(frozen=True)
class Choice:
    """Selects from a suite whose augmentations come in families."""

    families: tuple[str, ...] = ()
    levels: int | None = None
    frost_textures: str | None = None


@dataclass(frozen=True)
class Augmentation:
    """One way to change an image.

    Args:
        name: The name of its views in rows, tables and figures.
        transform: An albumentations transform, or a callable `(image uint8 [H, W, 3], rng) -> uint8 [H, W, 3]`.
        level: Its level in a family; None = it belongs to none.
        seeded_by: The name from which the seeds of its views derive; "" = its own name.
        version: For a callable of a built-in suite, which its name and this number identify. None = the user's own
            callable, which its code identifies.
        extra: Further data that decides its views, as JSON.
        description: A one-line description; "" = the transform's class and parameters, the first line of the
            callable's docstring, or its name.

    Raises:
        UsageError: The name is not allowed, or the transform is not callable.

    Example:
        >>> mirror = Augmentation("mirror", lambda image, rng: image[:, ::-1])
        >>> mirror.draw(np.arange(12, dtype=np.uint8).reshape(2, 2, 3), seed=0)[0, 0].tolist()
        [3, 4, 5]
    """

    name: str
    transform: Transform
    level: Level | None = None
    seeded_by: str = ""
    version: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""

    def __post_init__(self) -> None:
        if (
            not isinstance(self.name, str)
            or not self.name
            or self.name in (ORIGINAL, "augmentation", "all")
            or "\0" in self.name
        ):
            raise UsageError(f"augmentations: {self.name!r} cannot be a name; choose another")
        if not callable(self.transform):
            raise UsageError(
                f"augmentation {self.name!r}: give an albumentations transform or a callable (image, rng) -> image"
            )
        if not self.description:
            object.__setattr__(self, "description", transforms.described(self.transform))

    @property
    def seed_name(self) -> str:
        """The name from which the seeds of its views derive."""
        return self.seeded_by or self.name

    @property
    def is_own(self) -> bool:
        """Whether it is a user's own callable, identified by its code."""
        known = isinstance(self.transform, Traceable) or transforms.is_transform(self.transform)
        return not known and self.version is None

    def describe(self) -> Json:
        """Returns JSON that identifies its views, except for files that a callable reads; UsageError if it cannot."""
        extra: Json = {"level": dataclasses.asdict(self.level)} if self.level else {}
        extra |= ({"seeded_by": self.seeded_by} if self.seeded_by else {}) | dict(self.extra)
        if isinstance(self.transform, Traceable) and (described := self.transform.describe()) is not None:
            return described | extra
        if not transforms.is_transform(self.transform):
            if self.version is not None:
                return {"built_in": self.name, "version": self.version, **extra}
            return {"callable": fingerprint(self.transform), **extra}
        try:
            return {"albumentations": transforms.to_dict(self.transform), **extra}
        except Exception as error:
            raise UsageError(
                f"augmentation {self.name!r}: give a callable (image, rng) -> image instead ({reason(error)})"
            ) from error

    def parameters(self, seed: int) -> Json:
        """Returns the known parameters of the view with this seed, as JSON."""
        if self.level is not None:
            return {self.level.unit: self.level.parameter}
        known = getattr(self.transform, "parameters", None)
        return known(np.random.default_rng(seed)) if isinstance(self.transform, Traceable) and known else {}

    def draw(self, image: Pixels, seed: int, *, any_size: bool = False) -> Pixels:
        """Draws one view of an image uint8 `[H, W, 3]`, of equal shape unless `any_size`.

        EmbedshiftError if the transform fails, UsageError if it returns another shape or dtype.
        """
        try:
            with foreign_code():
                if transforms.is_transform(self.transform):
                    view = transforms.apply(self.transform, image.copy(), seed)
                else:
                    view = self.transform(image.copy(), np.random.default_rng(seed))
        except Exception as error:
            raise EmbedshiftError(f"augmentation {self.name!r} failed: {reason(error)}") from error
        shape: tuple[int, ...] = view.shape if isinstance(view, np.ndarray) and view.dtype == np.uint8 else ()
        if shape != image.shape and not (any_size and len(shape) == 3 and shape[2] == 3 and 0 not in shape):
            returned = f"{view.dtype} {view.shape}" if isinstance(view, np.ndarray) else type(view).__name__
            wanted = "[H, W, 3]" if any_size else image.shape
            raise UsageError(f"augmentation {self.name!r} returned {returned}; it must be uint8 {wanted}")
        return cast(Pixels, view)

    def warp(self, image: Pixels, values: Values, seed: int) -> Values:
        """Moves values float64 `[H, W]` or `[H, W, C]` as the view of `image` with the same seed moves its pixels.

        NaN where the view shows nothing of the original, and everywhere for a user's callable; unchanged if nothing
        is moved (colours, noise, blur, dropout).
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
                f"augmentation {self.name!r} cannot be aligned ({reason(error)}): leave out aligned metrics"
            ) from error

    def geometry(self, image: Pixels, seed: int) -> Geometry | None:
        """Returns the source of each pixel of a view of `image`; None with a user's callable."""
        if isinstance(self.transform, Traceable):
            return self.transform.geometry(image, np.random.default_rng(seed))
        if not transforms.is_transform(self.transform):
            return None
        if self._coverer is None:
            return Geometry()
        positions = np.moveaxis(grid(size_of(image)), 2, 0).astype(np.float64)
        moved = np.nan_to_num([self.warp(image, axis, seed) for axis in positions], nan=np.inf)
        uncovered = transforms.move(self._coverer, image, np.ones(image.shape[:2]), seed)
        return Geometry(np.moveaxis(moved.astype(np.float32), 0, 2), np.isnan(uncovered))

    @functools.cached_property
    def _mover(self) -> Transform:
        return transforms.mover_of(self.transform)

    @functools.cached_property
    def _coverer(self) -> Transform:
        return transforms.mover_of(self.transform, covers=True)


@dataclass(frozen=True)
class Chain(Traceable):
    """Augmentations applied one after the other."""

    steps: tuple[Augmentation, ...]

    @property
    def description(self) -> str:
        """The descriptions of the steps, in their order."""
        return ", then ".join(step.description for step in self.steps)

    def __call__(self, image: Pixels, rng: np.random.Generator) -> Pixels:
        """Applies the steps in order, each with its own seed."""
        for step, seed in zip(self.steps, self._seeds(rng), strict=True):
            image = step.draw(image, seed)
        return image

    def geometry(self, image: Pixels, rng: np.random.Generator) -> Geometry | None:
        """Returns the geometry of the view that an equal `rng` draws; None if a step's is unknown."""
        geometry = Geometry()
        for step, seed in zip(self.steps, self._seeds(rng), strict=True):
            after = step.geometry(image, seed)
            if after is None:
                return None
            geometry, image = geometry.then(after), step.draw(image, seed)
        return geometry

    def describe(self) -> Json:
        """Returns the steps in the form of a stored description."""
        return {"steps": [{"name": step.name, **step.describe()} for step in self.steps]}

    def _seeds(self, rng: np.random.Generator) -> list[int]:
        return [int(rng.integers(2**32)) for _ in self.steps]
