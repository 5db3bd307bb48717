"""The albumentations transforms that a file may name, how to build them, and the trial of an augmentation."""

import functools
import inspect
import json
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from embedshift.arrays import Pixels
from embedshift.augmentations import transforms
from embedshift.augmentations.augmentation import Augmentation
from embedshift.augmentations.changes import Sides, sides
from embedshift.augmentations.transforms import Transform
from embedshift.errors import EmbedshiftError, UsageError, reason
from embedshift.registry import unknown_name

# How often an augmentation may fail before it counts as one that always fails.
TRIES = 10


def trial_image(of: Sides) -> Pixels:
    colours = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(colours, sides(of)[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def failure(augmentation: Augmentation, of: Sides) -> EmbedshiftError | None:
    """Returns why an augmentation always fails on a generated image of a side, or of a file's height and width."""
    image, first, options = trial_image(of), None, {} if isinstance(of, int) else {"any_size": True}
    for seed in range(TRIES):
        try:
            augmentation.draw(image, seed, **options)
        except EmbedshiftError as error:
            first = first or error
        else:
            return None
    return first


TRIAL_SIDE = 64


@functools.cache
def catalogue() -> dict[str, Transform]:
    """Returns name → class of all public albumentations transforms of single images."""
    package = transforms.albumentations()
    bases = (package.ImageOnlyTransform, package.DualTransform)
    public = {name: kind for name, kind in vars(package).items() if inspect.isclass(kind) and name[0] != "_"}
    return {
        name: kind
        for name, kind in public.items()
        if issubclass(kind, bases) and kind not in bases and _takes_images(kind)
    }


def build(name: str, parameters: Mapping[str, Any]) -> Transform:
    """Builds a transform by its name; it is always applied unless `p` is among its parameters."""
    kind = catalogue()[name]
    accepted = inspect.signature(kind).parameters
    for parameter, value in parameters.items():
        if parameter not in accepted:
            raise UsageError(unknown_name(f"parameter of {name}", str(parameter)[:60], accepted))
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{name}: {parameter}: give a plain value ({reason(error)})") from error
    try:
        transform = transforms.make_strictly(kind, **{"p": 1.0, **parameters})
    except Exception as error:
        raise UsageError(f"{name}: {_first_error(error)}") from error
    if problem := _reason_unusable(transform):
        raise UsageError(f"{name} cannot be used: {problem}")
    _check_nested_names(name, transform, parameters)
    return transform


def _takes_images(kind: Any) -> bool:
    targets = getattr(kind, "_targets", ())
    image = transforms.albumentations().core.type_definitions.Targets.IMAGE
    return image in (targets if isinstance(targets, tuple) else (targets,))


def _reason_unusable(transform: Transform) -> str | None:
    """Returns why a transform cannot be used at any view size: it needs more than an image, or returns no image."""
    if transform.targets_as_params:
        return f"in addition to the image it needs {', '.join(transform.targets_as_params)}"
    try:
        rebuilt = transforms.from_dict(json.loads(json.dumps(transforms.to_dict(transform))))
    except Exception:
        return "its settings cannot be stored as plain values"
    rebuilt.p = 1.0
    try:
        view: Any = transforms.apply(rebuilt, trial_image(TRIAL_SIDE), 0)
    except KeyError as error:
        return f"in addition to the image it needs {error.args[0]}"
    except Exception:  # it may be made for another size, which `Suite.try_out` knows
        return None
    return None if view.dtype == np.uint8 and view.shape[2:] == (3,) else f"it gives {view.dtype} {view.shape}"


def _check_nested_names(name: str, transform: Transform, parameters: Mapping[str, Any]) -> None:
    """Refuses names inside a parameter that albumentations drops silently, such as `z` in `scale: {x: 1, z: 2}`."""
    for parameter, value in parameters.items():
        taken = getattr(transform, parameter, None)
        if isinstance(value, dict) and isinstance(taken, dict):
            for inner in value:
                if inner not in taken:
                    raise UsageError(unknown_name(f"name in {parameter} of {name}", str(inner)[:60], taken))


def _first_error(error: Exception) -> str:
    """Returns the first of pydantic's errors in one line; for other errors their message."""
    errors = getattr(error.__cause__ or error, "errors", None)
    if errors is None:
        return reason(error)
    details = errors()
    parameter = details[0]["loc"][:1]
    messages = dict.fromkeys(
        detail["msg"].removeprefix("Value error, ") for detail in details if detail["loc"][:1] == parameter
    )
    return ": ".join([*map(str, parameter), " or ".join(messages).replace(" or Input should be ", " or ")])
