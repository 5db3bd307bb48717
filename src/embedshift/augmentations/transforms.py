"""The only interface to albumentations: transforms, transforms allowed in files, their geometry."""

import contextlib
import copy
import functools
import importlib
import inspect
import json
import os
import re
import sys
import types
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from embedshift.arrays import Pixels, Values
from embedshift.augmentations.changes import Sides, sides
from embedshift.config import Json
from embedshift.errors import UsageError, reason
from embedshift.registry import unknown_name
from embedshift.registry.extras import cv2

# An albumentations transform, or a user's own callable `(image, rng) -> image`.
Transform = Any
# Minimum fraction of the original in a compared moved pixel: 1 up to rounding.
INSIDE = 0.999
# Limits for a description from another person.
MOST_LETTERS = 200


@contextlib.contextmanager
def _without_torch() -> Iterator[None]:
    """Prevents albumentations from importing torch for ToTensorV2, on import and in `from_dict`."""
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


# "ShiftScaleRotate is a special case of Affine"
_quietly = functools.partial(warnings.catch_warnings, action="ignore", category=UserWarning)


@functools.cache
def albumentations() -> types.ModuleType:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    with _without_torch():
        return importlib.import_module("albumentations")


def make(kind: str, **parameters: object) -> Transform:
    with _quietly():
        return getattr(albumentations(), kind)(**parameters, p=1.0)


def is_transform(thing: Transform) -> bool:
    """Returns whether an object is an albumentations transform, without importing albumentations."""
    return all(hasattr(type(thing), method) for method in ("set_random_seed", "to_dict"))


def to_dict(transform: Transform) -> Json:
    """Returns a transform as JSON; raises for transforms without a description, such as `Lambda`."""
    described: Json = albumentations().to_dict(transform)["transform"]
    return described


def described(transform: Transform) -> str:
    """Returns one line on a transform or callable: its `description`, its docstring's first line, or its repr."""
    while isinstance(transform, functools.partial):  # whose repr may hold paths
        transform = transform.func
    said = (getattr(transform, name, None) for name in ("description", "__doc__"))
    words = next((text.strip().split("\n")[0] for text in said if isinstance(text, str)), "")
    if is_transform(transform) or not words:
        words = re.sub(r" at 0x[0-9a-f]+", "", repr(transform))
    return " ".join(words.split())[:MOST_LETTERS]


def from_dict(described: Json) -> Transform:
    """Makes the transform of a description; raises KeyError for a class of the user's program."""
    package = albumentations()  # before the block, which replaces part of an existing package by a stub
    with _quietly(), _without_torch():
        return package.from_dict({"transform": described})


def apply(transform: Transform, image: Pixels, seed: int) -> object:
    transform.set_random_seed(seed)
    return transform(image=image)["image"]


def move(mover: Transform, image: Pixels, values: Values, seed: int) -> Values:
    """Moves values `[H, W]` or `[H, W, C]` as the view with the same seed moves its pixels; NaN elsewhere."""
    values_and_mask = np.dstack([values, np.ones(values.shape[:2])]).astype(np.float32)
    mover.set_random_seed(seed)
    moved = mover(image=image, mask=values_and_mask)["mask"].astype(np.float64)
    shape = moved.shape[:2] + values.shape[2:]
    return np.where(moved[..., -1:] > INSIDE, moved[..., :-1], np.nan).reshape(shape)


def mover_of(transform: Transform, *, covers: bool = False) -> Transform:
    """Returns a copy that moves a mask like an image, with zeros around; None if nothing moves."""
    transform = copy.deepcopy(transform)
    parts = [(part, ".dropout." in type(part).__module__) for part in _parts(transform)]
    dual = albumentations().DualTransform
    if not any(isinstance(part, dual) and (covers or not dropout) for part, dropout in parts):
        return None
    moving = {"mask_interpolation": cv2.INTER_LINEAR, "border_mode": cv2.BORDER_CONSTANT, "fill_mask": 0}
    for part, dropout in parts:
        for setting, value in ({"fill_mask": 0 if covers else None} if dropout else moving).items():
            if hasattr(part, setting):
                setattr(part, setting, value)
    return transform


def _parts(transform: Transform) -> Iterator[Transform]:
    for part in getattr(transform, "transforms", ()):
        yield from _parts(part)
    if not hasattr(transform, "transforms"):
        yield transform


@functools.cache
def catalogue() -> dict[str, Transform]:
    package = albumentations()
    bases = (package.ImageOnlyTransform, package.DualTransform)
    public = {name: kind for name, kind in vars(package).items() if inspect.isclass(kind) and name[0] != "_"}
    return {
        name: kind
        for name, kind in public.items()
        if issubclass(kind, bases) and kind not in bases and _takes_images(kind)
    }


def build(name: str, parameters: Mapping[str, Any]) -> Transform:
    """Builds a transform by name, always applied unless `p` is among its parameters."""
    kind = catalogue()[name]
    accepted = inspect.signature(kind).parameters
    for parameter, value in parameters.items():
        if parameter not in accepted:
            raise UsageError(unknown_name(f"parameter of {name}", str(parameter)[:60], accepted))
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{name}: {parameter}: give a plain value ({reason(error)})") from error
    # albumentations' own check of parameters only warns.
    checked = next(vars(base) for base in kind.__mro__ if "__init__" in vars(base))
    strict = {"strict": True} if "InitSchema" in checked else {}
    try:
        with _quietly():
            transform = kind(**{"p": 1.0, **parameters}, **strict)
    except Exception as error:
        raise UsageError(f"{name}: {_first_error(error)}") from error
    if problem := _reason_unusable(transform):
        raise UsageError(f"{name} cannot be used: {problem}")
    _check_nested_names(name, transform, parameters)
    return transform


def _takes_images(kind: Any) -> bool:
    targets = getattr(kind, "_targets", ())
    image = albumentations().core.type_definitions.Targets.IMAGE
    return image in (targets if isinstance(targets, tuple) else (targets,))


def _reason_unusable(transform: Transform) -> str | None:
    """Returns why a transform cannot be used at any view size: it needs more than an image, or returns no image."""
    if transform.targets_as_params:
        return f"in addition to the image it needs {', '.join(transform.targets_as_params)}"
    try:
        rebuilt = from_dict(json.loads(json.dumps(to_dict(transform))))
    except Exception:
        return "its settings cannot be stored as plain values"
    rebuilt.p = 1.0
    try:
        view: Any = apply(rebuilt, trial_image(64), 0)
    except KeyError as error:
        return f"in addition to the image it needs {error.args[0]}"
    except Exception:  # it may be made for another size, which `Suite.try_out` checks
        return None
    return None if view.dtype == np.uint8 and view.shape[2:] == (3,) else f"it gives {view.dtype} {view.shape}"


def _check_nested_names(name: str, transform: Transform, parameters: Mapping[str, Any]) -> None:
    """Refuses nested names that albumentations drops silently, such as `z` in `scale: {x: 1, z: 2}`."""
    for parameter, value in parameters.items():
        taken = getattr(transform, parameter, None)
        if isinstance(value, dict) and isinstance(taken, dict):
            for inner in value:
                if inner not in taken:
                    raise UsageError(unknown_name(f"name in {parameter} of {name}", str(inner)[:60], taken))


def _first_error(error: Exception) -> str:
    errors = getattr(error.__cause__ or error, "errors", None)
    if errors is None:
        return reason(error)
    details = errors()
    parameter = details[0]["loc"][:1]
    messages = dict.fromkeys(
        detail["msg"].removeprefix("Value error, ") for detail in details if detail["loc"][:1] == parameter
    )
    return ": ".join([*map(str, parameter), " or ".join(messages).replace(" or Input should be ", " or ")])


def trial_image(of: Sides) -> Pixels:
    colours = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(colours, sides(of)[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
