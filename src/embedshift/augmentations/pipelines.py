"""Reads the user's own pipelines of augmentations from a YAML file."""

import difflib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embedshift.augmentations import transforms
from embedshift.augmentations.augmentation import Augmentation
from embedshift.augmentations.catalogue import build, catalogue
from embedshift.augmentations.chain import Chain
from embedshift.config.plain_yaml import read_yaml
from embedshift.errors import UsageError

log = logging.getLogger(__name__)

ENDINGS = (".yaml", ".yml")
# The names of steps.
Registered = Mapping[str, Sequence[Augmentation]]


def read_pipelines(file: Path, registered: Registered) -> list[Augmentation]:
    """Reads the augmentations of a file, in its order: name → one step, or a list of steps applied one after the other."""
    content = read_yaml(file)
    if not isinstance(content, dict) or not content:
        raise UsageError(f"{file}: give at least one pipeline, such as 'name: [step, step]'")
    try:
        return [_pipeline(name, given, registered) for name, given in content.items()]
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from error


def _pipeline(name: Any, given: Any, registered: Registered) -> Augmentation:
    entries = given if isinstance(given, list) else [given]
    if entries in ([], [None]):
        raise UsageError(f"{name}: give at least one step")
    steps: list[Augmentation] = []
    for number, entry in enumerate(entries, start=1):
        try:
            steps.append(_step(entry, registered))
        except UsageError as error:
            raise UsageError(f"{name}, step {number}: {error}") from error
    if all(transforms.is_transform(each.transform) and each.transform.p < 1 for each in steps):
        log.warning("augmentation %r leaves some images unchanged: every step has a p below 1", name)
    only = steps[0].transform
    return Augmentation(name, only if len(steps) == 1 and transforms.is_transform(only) else Chain(tuple(steps)))


def _step(entry: Any, registered: Registered) -> Augmentation:
    name, parameters = _parted(entry)
    if name in catalogue():
        return Augmentation(name, build(name, parameters))
    found = registered.get(name, ())
    if not found:
        raise UsageError(_unknown(name, registered))
    if len(found) > 1:
        raise UsageError(f"{name!r} is the name of {len(found)} registered augmentations; write it as a transform")
    if parameters:
        raise UsageError(f"{name!r} takes no parameters: it is a registered augmentation")
    return found[0]


def _parted(entry: Any) -> tuple[str, dict[str, Any]]:
    """Returns a step's name and its parameters."""
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, dict) and len(entry) == 1:
        ((name, parameters),) = entry.items()
        if isinstance(name, str) and (parameters is None or isinstance(parameters, dict)):
            return name, parameters or {}
    raise UsageError("a step is a name, or '- name: {parameter: value}' with all parameters in the braces")


def _unknown(name: str, registered: Registered) -> str:
    if hasattr(transforms.albumentations(), name):
        return f"{name} cannot be used: it does not transform single images"
    kinds = {"transform of albumentations": catalogue(), "registered augmentation": registered}
    nearest = [
        f"{known!r} ({kind})" for kind, names in kinds.items() for known in difflib.get_close_matches(name, names, n=1)
    ]
    return f"unknown step {name[:60]!r}" + (f"; did you mean {' or '.join(nearest)}?" if nearest else "")
