"""`Family`: one kind of change at several levels of increasing strength, drawn with one seed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from embedshift.augmentations.augmentation import Augmentation, Choice, plain
from embedshift.augmentations.changes import Change, ChangeAt
from embedshift.config import Level
from embedshift.errors import UsageError
from embedshift.registry import Registry, unknown_name


@dataclass(frozen=True)
class Family:
    """One kind of change at levels of increasing strength.

    The seed of a view derives from the family and not from the level. So all levels change an image in the same way:
    with the same sign, at the same place, each covered part inside the next.

    Args:
        name: The family's name; its views are named `name@level`.
        suite: The suite that it belongs to.
        change: The change.
        unit: The parameter's unit as axes show it: "quality", "degrees".
        zero: The parameter of level 0, the unchanged image.
        levels: The parameters of levels 1, 2, …; a family with a single level has no strength.
        integer: Whether parameters are integers.
        published: Whether only these levels exist, because a standard defines them.
        drawn_as: The family whose seeds it uses; "" = its own.
        version: Increased whenever its views change.
        extra: Further data that decides its views, as JSON.
        constants: The published value for each severity, by the name that `what_it_does` gives it.

    Example:
        >>> FAMILIES["jpeg"].unit, FAMILIES["jpeg"].at(1, 50.0).name
        ('quality', 'jpeg@1')
    """

    name: str
    suite: str
    change: Change
    unit: str
    zero: float
    levels: tuple[float, ...]
    integer: bool = False
    published: bool = False
    drawn_as: str = ""
    version: int = 1
    extra: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def what_it_does(self) -> str:
        """The first line of the changing function's docstring, or its name."""
        parts = (getattr(self.change, part, None) for part in ("draw", "mask", "source", "__class__"))
        function = next(part for part in parts if part)
        words = (function.__doc__ or f"{self.name.replace('_', ' ').capitalize()}.").splitlines()[0]
        words = words.removeprefix("Returns ").replace("`", "")
        return words[0].upper() + words[1:]

    def description(self, *parameters: float) -> str:
        """Returns one line on the change at these strengths."""
        numbers: dict[str, Sequence[float]] = {self.unit: parameters} if len(self.levels) > 1 else {}
        numbers |= {name: [values[int(number) - 1] for number in parameters] for name, values in self.constants.items()}
        words = self.what_it_does.removesuffix(".") + ("; black border" if self.drawn_as else "")
        listed = "; ".join(f"{name}: {', '.join(map(plain, values))}" for name, values in numbers.items())
        return f"{words} ({listed})" if listed else words

    def parameter(self, level: int, count: int) -> float:
        """Returns the parameter of a level from 0 to `count`, interpolated linearly between the family's own levels."""
        parameters = (self.zero, *self.levels)
        value = float(np.interp(level * len(self.levels) / count, np.arange(len(parameters)), parameters))
        return float(round(value)) if self.integer else round(value, 10)

    def augmentations(self, levels: int | None = None) -> list[Augmentation]:
        """Returns its augmentations, weakest first; levels None = its own. A family without strength has one level."""
        default = len(self.levels)
        if self.published and levels not in (None, default):
            raise UsageError(f"levels: {self.name} has {default} published levels; leave `levels` out")
        count = default if levels is None or default == 1 else levels
        return [self.at(level, self.parameter(level, count)) for level in range(1, count + 1)]

    def at(self, level: int, parameter: float) -> Augmentation:
        """Returns the augmentation at one strength, in `unit`; the level only names it."""
        place, change = Level(self.name, level, parameter, self.unit, self.zero), ChangeAt(self.change, parameter)
        seeded_by, words = self.drawn_as or self.name, self.description(parameter)
        return Augmentation(f"{self.name}@{level}", change, place, seeded_by, self.version, self.extra, words)


FAMILIES: Registry[Family] = Registry("augmentation family")


def refuse_unknown(chosen: Iterable[str], kind: str, known: Mapping[str, object]) -> None:
    """Raises UsageError for the first name in the setting `families` that a suite lacks."""
    for name in chosen:
        if name not in known:
            raise UsageError(f"families: {unknown_name(kind, name, known)}")


def family_augmentations(
    suite: str, choice: Choice, standard: Sequence[str], others: Sequence[Family] = ()
) -> list[Augmentation]:
    """Returns the augmentations of a suite's families, each family from the weakest to the strongest level."""
    families = {name: FAMILIES[name] for name in FAMILIES if FAMILIES[name].suite == suite}
    families |= {family.name: family for family in others}
    refuse_unknown(choice.families, f"family of {suite}", families)
    return [
        augmentation
        for name in dict.fromkeys(choice.families or standard)
        for augmentation in families[name].augmentations(choice.levels)
    ]
