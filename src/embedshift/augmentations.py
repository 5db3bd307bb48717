"""Suites of augmentations: what they draw, and where it moves things. The only file that imports albumentations."""

import contextlib
import copy
import functools
import hashlib
import importlib
import inspect
import json
import logging
import os
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from embedshift.errors import EmbedshiftError, reason
from embedshift.images import Pixels
from embedshift.registry import Registry

log = logging.getLogger(__name__)

ORIGINAL = "original"
# What a moved picture's pixel must hold of the original to be compared with it: all but rounding.
INSIDE = 0.999

SUITES: Registry[Callable[[], Mapping[str, Any]]] = Registry("augmentation suite")

PAPER: dict[str, tuple[str, dict[str, Any]]] = {
    "noise": ("GaussNoise", {"std_range": (0.44, 0.88)}),
    "blur": ("GaussianBlur", {"blur_limit": (3, 7)}),
    "color_jitter": ("ColorJitter", {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.2}),
    "shift_scale_rotate": ("ShiftScaleRotate", {"shift_limit": 0.0625, "scale_limit": 0.1, "rotate_limit": 15}),
    "horizontal_flip": ("HorizontalFlip", {}),
    "elastic": ("ElasticTransform", {"alpha": 30, "sigma": 60}),
    "perspective": ("Perspective", {"scale": (0.05, 0.1)}),
    "brightness_contrast": ("RandomBrightnessContrast", {"brightness_limit": 0.2, "contrast_limit": 0.2}),
    "coarse_dropout": (
        "CoarseDropout",
        {"num_holes_range": (6, 8), "hole_height_range": (16, 16), "hole_width_range": (16, 16), "fill": "random"},
    ),
}


@contextlib.contextmanager
def _without_torch() -> Iterator[None]:
    """Keeps albumentations from importing torch, as its import and its `from_dict` do for the sake of ToTensorV2."""
    name = "albumentations.pytorch"
    if "torch" in sys.modules or name in sys.modules:
        yield
        return
    stub = types.ModuleType(name)
    stub.__dict__["ToTensorV2"] = None
    sys.modules[name] = stub
    package = sys.modules.get("albumentations")
    if package is not None:
        package.__dict__["pytorch"] = stub
    try:
        yield
    finally:
        del sys.modules[name]
        sys.modules["albumentations"].__dict__.pop("pytorch", None)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "ShiftScaleRotate is a special case of Affine"
        yield


@functools.cache
def albumentations() -> types.ModuleType:
    """The albumentations package, without its look for updates."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    with _without_torch():
        return importlib.import_module("albumentations")


def paper() -> dict[str, Any]:
    """The nine augmentations of the paper, each with p = 1, as albumentations transforms by name.

    Example:
        >>> list(paper())[:3]
        ['noise', 'blur', 'color_jitter']
    """
    package = albumentations()
    with _quietly():
        return {name: getattr(package, kind)(**parameters, p=1.0) for name, (kind, parameters) in PAPER.items()}


SUITES.add("paper", paper)


@dataclass(frozen=True)
class Suite:
    """Named augmentations in a fixed order, ready to draw.

    Args:
        transforms: Name → albumentations transform, or callable `(image uint8 [S, S, 3], rng) -> uint8 [S, S, 3]`.

    Example:
        >>> Suite({"mirror": lambda image, rng: image[:, ::-1]}).names
        ('mirror',)
    """

    transforms: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not self.transforms:
            raise EmbedshiftError("augmentations: give at least one", exit_code=2)
        for name, transform in self.transforms.items():
            if not isinstance(name, str) or not name or name in (ORIGINAL, "augmentation"):
                raise EmbedshiftError(f"augmentations: {name!r} cannot be a name; choose another", exit_code=2)
            if not callable(transform):
                words = f"augmentation {name!r}: give an albumentations transform or a callable (image, rng) -> image"
                raise EmbedshiftError(words, exit_code=2)

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in suite order: the order of every table and figure."""
        return tuple(self.transforms)

    def describe(self) -> dict[str, dict[str, Any]]:
        """What each augmentation is, as JSON: an albumentations transform's own parameters, a callable's name and text.

        Suites with equal descriptions draw equal views, but for what a callable reads from outside its text and state.
        A transform that cannot be written down, as albumentations' `Lambda`, raises EmbedshiftError.
        """
        return {name: _describe(name, transform) for name, transform in self.transforms.items()}

    def draw(self, name: str, image: Pixels, seed: int) -> Pixels:
        """One view of `image` uint8 `[S, S, 3]` by the augmentation `name`, decided by `seed` alone.

        Raises:
            EmbedshiftError: when the augmentation fails, or returns another shape or dtype than it was given.
        """
        transform = self.transforms[name]
        try:
            if _is_albumentations(transform):
                transform.set_random_seed(seed)
                view = transform(image=image)["image"]
            else:
                view = transform(image.copy(), np.random.default_rng(seed))
        except Exception as error:
            raise EmbedshiftError(f"augmentation {name!r} failed: {reason(error)}") from error
        if not isinstance(view, np.ndarray) or view.shape != image.shape or view.dtype != np.uint8:
            found = f"{view.dtype} {view.shape}" if isinstance(view, np.ndarray) else type(view).__name__
            raise EmbedshiftError(f"augmentation {name!r} returned {found}; it must be uint8 {image.shape}")
        return cast(Pixels, view)

    def warp(self, name: str, picture: Pixels, values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
        """`values`, one for each pixel, moved as the view of `picture` with the same seed moved its pixels.

        Args:
            name: The augmentation.
            picture: The original view, uint8 `[S, S, 3]`.
            values: `[S, S]`.
            seed: The view's seed.

        Returns:
            float64 `[S, S]`, NaN where the view shows nothing of the original; as they were for an augmentation that
            moves nothing (colours, noise, blur, dropout); all NaN for a callable, which may move anything anywhere.

        Raises:
            EmbedshiftError: when the augmentation cannot be drawn again on numbers that are no colours.

        Example:
            >>> package, picture = albumentations(), np.zeros((1, 3, 3), np.uint8)
            >>> load_suite({"flip": package.HorizontalFlip()}).warp("flip", picture, np.array([[1.0, 2, 3]]), 0)
            array([[3., 2., 1.]])
        """
        if not _is_albumentations(self.transforms[name]):
            return np.full_like(values, np.nan)
        mover = self._movers[name]
        if mover is None:
            return values
        both = np.stack([values, np.ones_like(values)], axis=2).astype(np.float32)
        try:
            mover.set_random_seed(seed)
            moved = mover(image=picture, mask=both)["mask"].astype(np.float64)
        except Exception as error:
            words = f"augmentation {name!r} cannot move an attention map ({reason(error)}): leave out aligned metrics"
            raise EmbedshiftError(words) from error
        return np.where(moved[..., 1] > INSIDE, moved[..., 0], np.nan)

    @functools.cached_property
    def _movers(self) -> dict[str, Any]:
        return {name: _mover(transform) for name, transform in self.transforms.items() if _is_albumentations(transform)}


def load_suite(augmentations: str | Mapping[str, Any]) -> Suite:
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
        raise EmbedshiftError("augmentations: give the name of a suite, or a dict of name -> transform", exit_code=2)
    return Suite({name: _always(name, transform) for name, transform in augmentations.items()})


def rebuild_suite(description: Mapping[str, Mapping[str, Any]]) -> Suite | None:
    """The suite of a stored description, without the user's own callables and classes; None where none is left.

    Example:
        >>> rebuild_suite(load_suite("paper").describe()).names == load_suite("paper").names
        True
    """
    package, rebuilt = albumentations(), dict[str, Any]()
    with _quietly(), _without_torch():
        for name, entry in description.items():
            # KeyError: no description of albumentations, or of a class that only the user's own program knows.
            with contextlib.suppress(KeyError):
                rebuilt[name] = package.from_dict({"transform": entry["albumentations"]})
    return Suite(rebuilt) if rebuilt else None


def _is_albumentations(transform: Any) -> bool:
    return all(hasattr(type(transform), method) for method in ("set_random_seed", "to_dict"))


def _mover(transform: Any) -> Any:
    """A copy that moves a mask as it moves a picture, with zeros around it; None where no part of it moves anything."""
    transform = copy.deepcopy(transform)
    parts = [(part, ".dropout." in type(part).__module__) for part in _parts(transform)]
    if not any(isinstance(part, albumentations().DualTransform) and not dropout for part, dropout in parts):
        return None
    moving = {"mask_interpolation": cv2.INTER_LINEAR, "border_mode": cv2.BORDER_CONSTANT, "fill_mask": 0}
    for part, dropout in parts:
        for setting, value in ({"fill_mask": None} if dropout else moving).items():
            if hasattr(part, setting):
                setattr(part, setting, value)
    return transform


def _parts(transform: Any) -> Iterator[Any]:
    """The transforms of a composition, or the one itself."""
    for part in getattr(transform, "transforms", ()):
        yield from _parts(part)
    if not hasattr(transform, "transforms"):
        yield transform


def _always(name: str, transform: Any) -> Any:
    if not _is_albumentations(transform):
        return transform
    transform = copy.deepcopy(transform)
    if transform.p != 1:
        log.warning("augmentation %r has p = %s: it is drawn always (p = 1)", name, transform.p)
        transform.p = 1.0
    return transform


def _describe(name: str, transform: Any) -> dict[str, Any]:
    if _is_albumentations(transform):
        try:
            return {"albumentations": albumentations().to_dict(transform)["transform"]}
        except Exception as error:
            words = f"augmentation {name!r}: give a callable (image, rng) -> image instead ({reason(error)})"
            raise EmbedshiftError(words, exit_code=2) from error
    state: Any = getattr(transform, "__dict__", None)
    if isinstance(transform, functools.partial):
        transform, state = transform.func, [transform.args, transform.keywords]
    function = transform if hasattr(transform, "__qualname__") else type(transform)
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)  # typed in, without a file
        text = repr(code and (code.co_code, code.co_names, [c for c in code.co_consts if not hasattr(c, "co_code")]))
    if state:
        text += json.dumps(state, default=lambda v: v.tolist() if hasattr(v, "tolist") else type(v).__qualname__)
    digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    return {"callable": f"{function.__module__}.{function.__qualname__}", "text_hash": digest}
