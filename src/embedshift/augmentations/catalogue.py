"""The albumentations transforms that a file may name, and how to build them from plain values."""

import functools
import inspect
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from embedshift.augmentations import transforms
from embedshift.augmentations.transforms import Transform
from embedshift.augmentations.trial import made_image
from embedshift.errors import UsageError, reason
from embedshift.registry import unknown_name

TRIAL_SIDE = 64


@functools.cache
def catalogue() -> dict[str, Transform]:
    """Returns name → class of all public albumentations transforms of single images."""
    package = transforms.albumentations()
    bases = (package.ImageOnlyTransform, package.DualTransform)
    public = {name: each for name, each in vars(package).items() if inspect.isclass(each) and name[0] != "_"}
    return {
        name: each
        for name, each in public.items()
        if issubclass(each, bases) and each not in bases and _is_of_images(each)
    }


def build(name: str, parameters: Mapping[str, Any]) -> Transform:
    """Builds a transform by its name; it is always applied unless `p` is among its parameters."""
    kind = catalogue()[name]
    known = inspect.signature(kind).parameters
    for parameter, value in parameters.items():
        if parameter not in known:
            raise UsageError(unknown_name(f"parameter of {name}", str(parameter)[:60], known))
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{name}: {parameter}: give a plain value ({reason(error)})") from error
    try:
        made = transforms.make_strictly(kind, **{"p": 1.0, **parameters})
    except Exception as error:
        raise UsageError(f"{name}: {_shortened(error)}") from error
    if words := _why_not(made):
        raise UsageError(f"{name} cannot be used: {words}")
    _refuse_what_was_not_taken(name, made, parameters)
    return made


def _is_of_images(kind: Any) -> bool:
    targets = getattr(kind, "_targets", ())
    image = transforms.albumentations().core.type_definitions.Targets.IMAGE
    return image in (targets if isinstance(targets, tuple) else (targets,))


def _why_not(made: Transform) -> str | None:
    """Returns why a transform cannot be used at any view size: it needs more than an image, or returns no image."""
    if made.targets_as_params:
        return f"in addition to the image it needs {', '.join(made.targets_as_params)}"
    try:
        again = transforms.from_dict(json.loads(json.dumps(transforms.to_dict(made))))
    except Exception:
        return "its settings cannot be stored as plain values"
    again.p = 1.0
    try:
        view: Any = transforms.apply(again, made_image(TRIAL_SIDE), 0)
    except KeyError as error:
        return f"in addition to the image it needs {error.args[0]}"
    except Exception:  # it may be made for another size, which `Suite.try_out` knows
        return None
    return None if view.dtype == np.uint8 and view.shape[2:] == (3,) else f"it gives {view.dtype} {view.shape}"


def _refuse_what_was_not_taken(name: str, made: Transform, parameters: Mapping[str, Any]) -> None:
    """Refuses names inside a parameter that albumentations drops silently, such as `z` in `scale: {x: 1, z: 2}`."""
    for parameter, value in parameters.items():
        taken = getattr(made, parameter, None)
        if isinstance(value, dict) and isinstance(taken, dict):
            for inner in value:
                if inner not in taken:
                    raise UsageError(unknown_name(f"name in {parameter} of {name}", str(inner)[:60], taken))


def _shortened(error: Exception) -> str:
    """Returns the first of pydantic's errors in one line; for other errors their message."""
    errors = getattr(error.__cause__ or error, "errors", None)
    if errors is None:
        return reason(error)
    found = errors()
    parameter = found[0]["loc"][:1]
    words = dict.fromkeys(each["msg"].removeprefix("Value error, ") for each in found if each["loc"][:1] == parameter)
    return ": ".join([*map(str, parameter), " or ".join(words).replace(" or Input should be ", " or ")])
