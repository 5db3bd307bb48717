"""The families of a study: which views are one kind of change at levels of rising strength."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from embedshift.arrays import Values
from embedshift.config import Grade

# The views of families that are shown if all would be too many: `MeasuredFamily.nearest`.
ONE_LEVEL = "one level per family: the level nearest the tolerance, otherwise the strongest"


@dataclass(frozen=True)
class MeasuredFamily:
    """One kind of change at the levels that a study measured."""

    name: str
    unit: str
    zero: float
    parameters: tuple[float, ...]
    views: tuple[str, ...]

    @property
    def strengths(self) -> tuple[float, ...]:
        return (self.zero, *self.parameters)

    @property
    def has_strength(self) -> bool:
        return len(self.views) > 1

    @property
    def rises(self) -> bool:
        return self.parameters[-1] > self.zero

    def levels_at(self, parameters: ArrayLike) -> Values:
        """Converts strengths to positions among the levels, by linear interpolation; NaN stays NaN."""
        strengths, wanted = np.asarray(self.strengths, np.float64), np.asarray(parameters, np.float64)
        sign = 1.0 if self.rises else -1.0
        return np.asarray(np.interp(sign * wanted, sign * strengths, np.arange(len(strengths))))

    def nearest(self, parameter: float | None) -> str:
        """Returns the view whose level is nearest to a strength; for None that of the strongest level."""
        return self.views[-1 if parameter is None else max(1, round(float(self.levels_at(parameter)))) - 1]


def families_of(augmentations: Mapping[str, Mapping[str, Any]]) -> tuple[MeasuredFamily, ...]:
    """Returns the families in a suite's description, in its order; empty for a suite without families."""
    grades = {name: Grade(**entry["grade"]) for name, entry in augmentations.items() if "grade" in entry}
    families: list[MeasuredFamily] = []
    for family in dict.fromkeys(grade.family for grade in grades.values()):
        levels = sorted((grade.level, grade, name) for name, grade in grades.items() if grade.family == family)
        first = levels[0][1]
        parameters, views = tuple(grade.parameter for _, grade, _ in levels), tuple(name for *_, name in levels)
        families.append(MeasuredFamily(family, first.unit, first.zero, parameters, views))
    return tuple(families)
