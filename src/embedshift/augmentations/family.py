"""Families: one kind of change at levels of rising strength, all drawn alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from embedshift.arrays import Pixels
from embedshift.augmentations.augmentation import Augmentation, Choice, Grade
from embedshift.augmentations.changes import Change, Graded
from embedshift.errors import UsageError
from embedshift.registry import Registry, unknown_name


@dataclass(frozen=True)
class Family:
    """One kind of change at levels of rising strength.

    The seed of a view comes from the family and not from the level, so that an image is changed alike at all levels:
    the same sign, the same place, nested parts.

    Args:
        name: Of the family; its views are called `name@level`.
        suite: The suite that it belongs to.
        change: What is done.
        unit: Of the parameter, as an axis shows it: "quality", "degrees".
        zero: The parameter of level 0, the image itself.
        levels: The parameters of levels 1, 2, …; one level = the family has no strength.
        whole: Whether parameters are whole numbers.
        published: Whether only these levels exist, as where they are a standard.
        drawn_as: The family whose seeds it takes; "" = its own.
        version: Raised whenever its views change.
        more: What else decides its views, as JSON.
    """

    name: str
    suite: str
    change: Change
    unit: str
    zero: float
    levels: tuple[float, ...]
    whole: bool = False
    published: bool = False
    drawn_as: str = ""
    version: int = 1
    more: Mapping[str, Any] = field(default_factory=dict)

    def parameter(self, level: int, of: int) -> float:
        """The parameter of a level, where there are so many: between the family's own levels by a straight line.

        Example:
            >>> family = Family("turn", "strength", Change(), "degrees", 0.0, (5.0, 10.0, 20.0, 45.0, 90.0))
            >>> [family.parameter(level, of=5) for level in range(6)], family.parameter(1, of=10)
            ([0.0, 5.0, 10.0, 20.0, 45.0, 90.0], 2.5)
        """
        known = (self.zero, *self.levels)
        found = float(np.interp(level * len(self.levels) / of, np.arange(len(known)), known))
        return float(round(found)) if self.whole else round(found, 10)

    def augmentations(self, levels: int | None = None) -> list[Augmentation]:
        """Its views, the weakest first; a family without strength has one whatever is asked.

        Raises:
            UsageError: where the levels are a standard and another number is asked for.
        """
        own = len(self.levels)
        if self.published and levels not in (None, own):
            raise UsageError(f"levels: {self.name} has {own} published levels; leave `levels` out")
        count = own if levels is None or own == 1 else levels
        return [self.at(level, self.parameter(level, count)) for level in range(1, count + 1)]

    def at(self, level: int, parameter: float) -> Augmentation:
        """Its view at one strength."""
        grade = Grade(self.name, level, parameter, self.unit, self.zero)
        change = Graded(self.change, parameter)
        seeded_by = self.drawn_as or self.name
        return Augmentation(f"{self.name}@{level}", change, grade, seeded_by, self.version, self.more)

    def draw(self, image: Pixels, parameter: float, seed: int) -> Pixels:
        """The view of `image` uint8 `[S, S, 3]` at any strength; the image itself, unchanged, at that of level 0."""
        return image if parameter == self.zero else self.at(1, parameter).draw(image, seed)


FAMILIES: Registry[Family] = Registry("augmentation family")


def add(family: Family) -> None:
    """Registers a family under its name."""
    FAMILIES.add(family.name, family)


def of_suite(suite: str, choice: Choice, standard: Sequence[str], others: Sequence[Family] = ()) -> list[Augmentation]:
    """The views of a suite's families: those that are asked for, else the standard ones, weakest first each.

    Args:
        suite: The suite's name.
        choice: What is asked for.
        standard: Names of the families that it has without being asked, in order.
        others: Families that are not registered, since they depend on the choice.

    Raises:
        UsageError: for a family that the suite does not have.
    """
    known = {name: FAMILIES[name] for name in FAMILIES if FAMILIES[name].suite == suite}
    known |= {family.name: family for family in others}
    for name in choice.families:
        if name not in known:
            raise UsageError(f"families: {unknown_name(f'family of {suite}', name, known)}")
    return [
        each for name in dict.fromkeys(choice.families or standard) for each in known[name].augmentations(choice.levels)
    ]
