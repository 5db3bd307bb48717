"""Suites: named augmentations in a fixed order, and how they are found again from what was written down."""

import contextlib
import copy
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from embedshift.augmentations import transforms
from embedshift.augmentations.augmentation import Augmentation, Choice, Grade
from embedshift.augmentations.family import FAMILIES
from embedshift.augmentations.transforms import Transform
from embedshift.config import Json
from embedshift.errors import UsageError
from embedshift.registry import Registry

log = logging.getLogger(__name__)

SUITES: Registry[Callable[[Choice], Sequence[Augmentation]]] = Registry("augmentation suite")


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

    @property
    def is_graded(self) -> bool:
        """Whether some of them stand in families, at levels of rising strength."""
        return any(each.grade for each in self.augmentations)

    def describe(self) -> dict[str, Json]:
        """Name → `Augmentation.describe`."""
        return {each.name: each.describe() for each in self.augmentations}


def load_suite(
    augmentations: str | Mapping[str, Transform],
    *,
    families: Sequence[str] = (),
    levels: int | None = None,
    frost_textures: str | None = None,
) -> Suite:
    """The suite of a registered name, or of the user's own dict.

    Albumentations transforms are copied and their own `p` is set to 1: a view that is left alone by chance would
    count as an encoder that does not move.

    Args:
        augmentations: The name, or name → albumentations transform or callable `(image, rng) -> image`.
        families: Of a suite of families: which; none = the standard ones.
        levels: Of a suite of families: how many levels each; None = the family's own.
        frost_textures: A folder with images of frost, for the corruption of that name.

    Raises:
        UsageError: for an unknown name, or a choice that the suite does not have.

    Example:
        >>> load_suite("paper").names[-1]
        'coarse_dropout'
        >>> load_suite("strength", families=["jpeg"], levels=2).names
        ('jpeg@1', 'jpeg@2')
    """
    choice = Choice(tuple(families), levels, frost_textures)
    if isinstance(augmentations, str):
        suite = Suite(SUITES[augmentations](choice))
    elif isinstance(augmentations, Mapping):
        suite = Suite([Augmentation(name, _always(name, transform)) for name, transform in augmentations.items()])
    else:
        raise UsageError("augmentations: give the name of a suite, or a dict of name -> transform")
    if choice != Choice() and not suite.is_graded:
        raise UsageError("`families`, `levels` and `frost_textures` are for `augmentations` strength and corruptions")
    if frost_textures is not None and not any(each.grade and each.grade.family == "frost" for each in suite):
        raise UsageError("`frost_textures`: frost is not among the augmentations; leave it out, or add frost")
    return suite


def rebuild_suite(description: Mapping[str, Mapping[str, Any]]) -> Suite | None:
    """The suite of a stored description, without the user's own callables and classes; None where none is left.

    Example:
        >>> rebuild_suite(load_suite("paper").describe()).names == load_suite("paper").names
        True
    """
    found = (_rebuilt(name, entry) for name, entry in description.items())
    rebuilt = [each for each in found if each is not None]
    return Suite(rebuilt) if rebuilt else None


def _rebuilt(name: str, entry: Mapping[str, Any]) -> Augmentation | None:
    """One augmentation of a description; None where it is the user's own, or of another version."""
    if "grade" in entry:
        grade = Grade(**entry["grade"])
        family = FAMILIES.get(grade.family)
        known = [] if family is None else [family.at(grade.level, grade.parameter)]
    elif "built_in" in entry:
        known = [each for suite in SUITES for each in SUITES[suite](Choice()) if each.name == name]
    else:
        # KeyError: no description of albumentations, or of a class that only the user's own program knows.
        with contextlib.suppress(KeyError):
            return Augmentation(name, transforms.from_dict(entry["albumentations"]))
        return None
    return next((each for each in known if each.describe() == dict(entry)), None)


def _always(name: str, transform: Transform) -> Transform:
    if not transforms.is_transform(transform):
        return transform
    transform = copy.deepcopy(transform)
    if transform.p != 1:
        log.warning("augmentation %r has p = %s: it is drawn always (p = 1)", name, transform.p)
        transform.p = 1.0
    return transform
