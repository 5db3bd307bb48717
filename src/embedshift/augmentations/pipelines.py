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
from embedshift.config.safe_files import read_yaml
from embedshift.errors import UsageError

log = logging.getLogger(__name__)

ENDINGS = (".yaml", ".yml")
# The names of steps.
Registered = Mapping[str, Sequence[Augmentation]]


def read_pipelines(file: Path, registered: Registered) -> list[Augmentation]:
    """Reads the augmentations of a file, in its order: name → one step, or a list of steps in their order."""
    content = read_yaml(file)
    if not isinstance(content, dict) or not content:
        raise UsageError(f"{file}: give at least one pipeline, such as 'name: [step, step]'")
    try:
        return [_pipeline(name, value, registered) for name, value in content.items()]
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from error


def _pipeline(name: Any, value: Any, registered: Registered) -> Augmentation:
    entries = value if isinstance(value, list) else [value]
    if entries in ([], [None]):
        raise UsageError(f"{name}: give at least one step")
    steps: list[Augmentation] = []
    for number, entry in enumerate(entries, start=1):
        try:
            steps.append(_step(entry, registered))
        except UsageError as error:
            raise UsageError(f"{name}, step {number}: {error}") from error
    if all(transforms.is_transform(step.transform) and step.transform.p < 1 for step in steps):
        log.warning("augmentation %r leaves some images unchanged: every step has a p below 1", name)
    only = steps[0].transform
    return Augmentation(name, only if len(steps) == 1 and transforms.is_transform(only) else Chain(tuple(steps)))


def _step(entry: Any, registered: Registered) -> Augmentation:
    name, parameters = _name_and_parameters(entry)
    if name in catalogue():
        return Augmentation(name, build(name, parameters))
    augmentations = registered.get(name, ())
    if not augmentations:
        raise UsageError(_unknown_step(name, registered))
    if len(augmentations) > 1:
        raise UsageError(
            f"{name!r} is the name of {len(augmentations)} registered augmentations; write it as a transform"
        )
    if parameters:
        raise UsageError(f"{name!r} takes no parameters: it is a registered augmentation")
    return augmentations[0]


def _name_and_parameters(entry: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, dict) and len(entry) == 1:
        ((name, parameters),) = entry.items()
        if isinstance(name, str) and (parameters is None or isinstance(parameters, dict)):
            return name, parameters or {}
    raise UsageError("a step is a name, or '- name: {parameter: value}' with all parameters in the braces")


def _unknown_step(name: str, registered: Registered) -> str:
    if hasattr(transforms.albumentations(), name):
        return f"{name} cannot be used: it does not transform single images"
    kinds = {"transform of albumentations": catalogue(), "registered augmentation": registered}
    nearest = [
        f"{candidate!r} ({kind})"
        for kind, names in kinds.items()
        for candidate in difflib.get_close_matches(name, names, n=1)
    ]
    return f"unknown step {name[:60]!r}" + (f"; did you mean {' or '.join(nearest)}?" if nearest else "")
