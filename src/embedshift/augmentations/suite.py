"""`Suite`: named augmentations in a fixed order, from a registry, a YAML file or a stored description."""

import copy
import difflib
import itertools
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedshift.augmentations import transforms
from embedshift.augmentations.augmentation import ORIGINAL, Augmentation, Chain, Choice
from embedshift.augmentations.changes import Sides
from embedshift.augmentations.family import FAMILIES, refuse_unknown
from embedshift.augmentations.transforms import Transform
from embedshift.augmentations.variant import purified_of
from embedshift.config import NO_AUGMENTATIONS, Json, Level
from embedshift.config.safe_files import expanded, read_yaml
from embedshift.errors import EmbedshiftError, UsageError, reason
from embedshift.registry import Registry

log = logging.getLogger(__name__)

ENDINGS = (".yaml", ".yml")
Registered = Mapping[str, Sequence[Augmentation]]


def read_pipelines(file: Path, registered: Registered) -> list[Augmentation]:
    """Reads the augmentations of a file, in order: name → one step, or a list of steps."""
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
    if name in transforms.catalogue():
        return Augmentation(name, transforms.build(name, parameters))
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
    kinds = {"transform of albumentations": transforms.catalogue(), "registered augmentation": registered}
    nearest = [
        f"{candidate!r} ({kind})"
        for kind, names in kinds.items()
        for candidate in difflib.get_close_matches(name, names, n=1)
    ]
    return f"unknown step {name[:60]!r}" + (f"; did you mean {' or '.join(nearest)}?" if nearest else "")


# Number of failures after which an augmentation counts as always failing.
TRIES = 10
# Largest parameter of a stored description, so that it cannot request a larger image.
LARGEST = 20_000

SUITES: Registry[Callable[[Choice], Sequence[Augmentation]]] = Registry("augmentation suite")
# Name → descriptions of a suite whose construction would import albumentations.
VIEWS: dict[str, Mapping[str, str]] = {}
SUITES.add(NO_AUGMENTATIONS, lambda choice: ())


@dataclass(frozen=True)
class Suite:
    """Augmentations in a fixed order, each with its own name."""

    augmentations: Sequence[Augmentation]
    is_custom: bool = False
    _by_name: dict[str, Augmentation] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.is_custom and not self.augmentations:
            raise UsageError("augmentations: give at least one")
        for augmentation in self.augmentations:
            if augmentation.name in self._by_name:
                raise UsageError(f"augmentations: two have the name {augmentation.name!r}; rename one")
            self._by_name[augmentation.name] = augmentation

    def __iter__(self) -> Iterator[Augmentation]:
        return iter(self.augmentations)

    def __getitem__(self, name: str) -> Augmentation:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the augmentations, in the order of every table and figure."""
        return tuple(self._by_name)

    @property
    def step_suites(self) -> Iterator[str]:
        """The suites whose augmentations are steps of a user's pipeline."""
        for entry in self.describe().values() if self.is_custom else ():
            yield from (suite for step in entry.get("steps", ()) if (suite := _suite_of(step["name"])))

    @property
    def has_levels(self) -> bool:
        """Whether some augmentations belong to families with levels of strength."""
        return any(augmentation.level for augmentation in self.augmentations)

    def describe(self) -> dict[str, Json]:
        """Returns name → `Augmentation.describe()`."""
        return {augmentation.name: augmentation.describe() for augmentation in self.augmentations}

    def try_out(self, of: Sides) -> None:
        """Draws the user's own augmentations once on a generated image, to find faults before a long run."""
        for augmentation in self.augmentations if self.is_custom else ():
            error = failure(augmentation, of)
            is_built_in = isinstance(augmentation.transform, Chain) or transforms.is_transform(augmentation.transform)
            if error is not None and (is_built_in or isinstance(error, UsageError)):
                raise UsageError(str(error)) from error


def failure(augmentation: Augmentation, of: Sides) -> EmbedshiftError | None:
    """Returns why an augmentation always fails on a generated image of a side, or of a height and width."""
    image, first, options = transforms.trial_image(of), None, {} if isinstance(of, int) else {"any_size": True}
    for seed in range(TRIES):
        try:
            augmentation.draw(image, seed, **options)
        except EmbedshiftError as error:
            first = first or error
        else:
            return None
    return first


def load_suite(
    augmentations: str | Path | Mapping[str, Transform],
    *,
    families: Sequence[str] = (),
    levels: int | None = None,
    frost_textures: str | None = None,
) -> Suite:
    """Loads a suite by name, from a YAML file of pipelines, or from the user's dict."""
    choice = Choice(tuple(families), levels, frost_textures)
    if isinstance(augmentations, Path) or str(augmentations).endswith(ENDINGS):
        suite = Suite(read_pipelines(expanded(str(augmentations)), _registered()), is_custom=True)
    elif isinstance(augmentations, str):
        if augmentations not in SUITES and (suite_name := _suite_of(augmentations.partition(",")[0])):
            words = f"use `augmentations` {suite_name} with `families` {augmentations}"
            raise UsageError(f"{augmentations!r} is no suite of augmentations: {words}")
        suite = Suite(SUITES[augmentations](choice))
        if suite.augmentations and not suite.has_levels:
            refuse_unknown(choice.families, f"augmentation of {augmentations}", suite._by_name)
            chosen = choice.families or suite.names
            suite = Suite([augmentation for augmentation in suite if augmentation.name in chosen])
            choice = Choice((), levels, frost_textures)
    elif isinstance(augmentations, Mapping):
        custom = [Augmentation(name, _always_applied(name, transform)) for name, transform in augmentations.items()]
        suite = Suite(custom, is_custom=True)
    else:
        raise UsageError("augmentations: give the name of a suite, a YAML file, or a dict of name -> transform")
    if choice != Choice() and not suite.has_levels:
        words = "apply only to `augmentations` strength and corruptions, `families` only to suites with a name"
        raise UsageError(f"`levels` and `frost_textures` {words}")
    if frost_textures is not None and not any(
        augmentation.level and augmentation.level.family == "frost" for augmentation in suite
    ):
        raise UsageError("`frost_textures`: frost is not among the augmentations; leave it out, or add frost")
    return suite


def _suite_of(name: str) -> str | None:
    if name in FAMILIES:
        return FAMILIES[name].suite
    return next((other for other, suite in _without_families().items() if name in suite), None)


def rebuild_suite(description: Mapping[str, Mapping[str, Any]]) -> Suite | None:
    """Rebuilds a suite from a stored description, without variants and the user's own callables."""
    augmentations = (_rebuild(name, entry) for name, entry in description.items())
    rebuilt = [augmentation for augmentation in augmentations if augmentation is not None]
    return Suite(rebuilt) if rebuilt else None


def _rebuild(name: str, entry: Mapping[str, Any]) -> Augmentation | None:
    """Rebuilds one augmentation; None for the user's own, another version, or a failure."""
    if max(map(abs, _numbers(entry)), default=0) > LARGEST:
        log.warning("augmentation %r cannot be redrawn for the report: a parameter is larger than %d", name, LARGEST)
        return None
    candidates: Sequence[Augmentation | None] = ()
    if "steps" in entry:
        steps = [_rebuild(step["name"], {k: v for k, v in step.items() if k != "name"}) for step in entry["steps"]]
        candidates = [Augmentation(name, Chain(tuple(step for step in steps if step is not None)))]
    elif "level" in entry:
        level = Level(**entry["level"])
        family = FAMILIES.get(level.family)
        candidates = [] if family is None else [family.at(level.number, level.parameter)]
    elif entry.get("of") == ORIGINAL:
        candidates = [purified_of(entry)]
    elif "built_in" in entry:
        candidates = [each for suite in _without_families().values() for each in suite if each.name == name]
    elif "albumentations" in entry:
        return _rebuild_transform(name, entry["albumentations"])
    return next((each for each in candidates if each and json.loads(json.dumps(each.describe())) == dict(entry)), None)


def _rebuild_transform(name: str, described: Json) -> Augmentation | None:
    """Returns None for a class of the user's program, and for parameters that albumentations refuses."""
    try:
        return Augmentation(name, transforms.from_dict(described))
    except KeyError:
        return None
    except Exception as error:
        log.warning("augmentation %r cannot be redrawn for the report: %.200s", name, reason(error))
        return None


def _numbers(described: Any) -> Iterator[float]:
    if isinstance(described, Mapping):
        described = [*described.values()]
    if isinstance(described, list):
        for value in described:
            yield from _numbers(value)
    elif isinstance(described, int | float):
        yield described


def _registered() -> dict[str, list[Augmentation]]:
    by_name: dict[str, list[Augmentation]] = {}
    in_families = [FAMILIES[name].augmentations() for name in FAMILIES]
    for augmentation in itertools.chain(*in_families, *_without_families().values()):
        by_name.setdefault(augmentation.name, []).append(augmentation)
    return by_name


def _without_families() -> dict[str, Suite]:
    of_families = {FAMILIES[name].suite for name in FAMILIES}
    return {name: Suite(SUITES[name](Choice())) for name in SUITES if name not in of_families}


def _always_applied(name: str, transform: Transform) -> Transform:
    if not transforms.is_transform(transform):
        return transform
    transform = copy.deepcopy(transform)
    if transform.p != 1:
        log.warning("augmentation %r has p = %s; it is always applied (p = 1)", name, transform.p)
        transform.p = 1.0
    return transform
