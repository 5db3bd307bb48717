"""Strengths of changes: augmentation families, whose views are one kind of change at rising levels.

Strengths are written for people with two significant figures, in percent if the unit is a fraction.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from embedshift.arrays import Values
from embedshift.config import Level

# The views of families that are shown if all would be too many: `MeasuredFamily.nearest`.
ONE_LEVEL = "one level per family: the level nearest the tolerance, otherwise the strongest"
# Units that are a fraction, by their endings or beginnings → what stands after "%".
_FRACTIONS = {"/ side": "of the side", "/ range": "of the range"}
# Units that stand after their number, or around it.
_AROUND = {"degrees": "{} degrees", "±": "±{}", "x the paper's maximum": "{} x the paper's maximum"}
NOT_REACHED = "not reached"


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
    levels = [(Level(**entry["level"]), name) for name, entry in augmentations.items() if "level" in entry]
    families: list[MeasuredFamily] = []
    for family in dict.fromkeys(level.family for level, _ in levels):
        ordered = sorted((pair for pair in levels if pair[0].family == family), key=lambda pair: pair[0].number)
        first = ordered[0][0]
        parameters, views = tuple(level.parameter for level, _ in ordered), tuple(name for _, name in ordered)
        families.append(MeasuredFamily(family, first.unit, first.zero, parameters, views))
    return tuple(families)


def scaled(value: float, unit: str) -> str:
    """Formats a number without unit, with two figures or its whole part; in percent if the unit is a fraction."""
    number = 100 * value if is_fraction(unit) else value
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:#.2g}".rstrip(".")


def parameter(value: float, unit: str) -> str:
    """Formats the parameter of a level as it was chosen, without unit; in percent if the unit is a fraction."""
    return f"{100 * value if is_fraction(unit) else value:.3g}"


def is_fraction(unit: str) -> bool:
    return _fraction(unit) is not None


def axis_label(unit: str) -> str:
    return f"{unit}, %" if is_fraction(unit) else unit


def in_words(value: float | None, unit: str) -> str:
    if value is None or math.isnan(value):
        return NOT_REACHED
    number, fraction = scaled(value, unit), _fraction(unit)
    if fraction is not None:
        return f"{number} % {fraction}".rstrip()
    if " or " in unit:  # "g or 1/g"
        return unit.replace(unit.split()[0], number)
    return _AROUND.get(unit, f"{unit} {{}}").format(number).strip()


def interval_in_words(low: float | None, high: float | None, unit: str) -> str:
    """Formats the interval of a strength without its unit; "" if there is none."""
    if low is None and high is None:
        return ""
    percent = " %" if is_fraction(unit) else ""
    if low is None or high is None:
        return f"{scaled(high or low or 0.0, unit)}{percent} or {'more' if high is None else 'less'}"
    return f"{scaled(low, unit)} to {scaled(high, unit)}{percent}"


def with_interval_in_words(row: Mapping[str, Any]) -> str:
    interval = interval_in_words(row["low"], row["high"], row["unit"])
    return in_words(row["value"], row["unit"]) + (f" ({interval})" if interval else "")


def _fraction(unit: str) -> str | None:
    for ending, words in _FRACTIONS.items():
        if unit.endswith(ending):
            return words
    if unit == "hidden":
        return unit
    return unit.removeprefix("fraction").strip() if unit.split()[:1] == ["fraction"] else None


def outward(low: float, high: float, places: int) -> tuple[float, float]:
    """Rounds the ends of an interval away from its middle, so that what is printed holds the whole interval."""
    scale, noise = 10.0**places, 1e-6
    if math.isnan(low) or math.isnan(high):
        return low, high
    return math.floor(low * scale + noise) / scale + 0.0, math.ceil(high * scale - noise) / scale + 0.0
