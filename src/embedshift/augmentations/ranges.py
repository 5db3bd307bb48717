"""The numbers of augmentations, drawn within ranges and written in descriptions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

# The value of each number of a view.
Drawn = dict[str, Any]


class Range(NamedTuple):
    """A range from which a number is drawn; `format(range, "%")` writes it in percent.

    Example:
        >>> f"{Range(0.44, 0.88)}; {Range(-0.12, 0.12):%}; {Range(75, 75)}"
        '.44 to .88; ±12 %; 75'
    """

    low: float
    high: float

    def __format__(self, spec: str) -> str:
        low, high = (plain(end * (100 if spec == "%" else 1)) for end in self)
        words = f"±{high}" if self.low == -self.high else high if self.low == self.high else f"{low} to {high}"
        return f"{words} %" if spec == "%" else words


@dataclass(frozen=True)
class OneOf:
    """Values of which one is drawn."""

    values: tuple[str, ...]

    def __format__(self, spec: str) -> str:
        return " or ".join((", ".join(self.values[:-1]), self.values[-1]))


Numbers = Mapping[str, Range | OneOf]


def drawn(numbers: Numbers, rng: np.random.Generator) -> Drawn:
    """Draws every number evenly within its range."""
    return {
        name: float(rng.uniform(*entry)) if isinstance(entry, Range) else entry.values[rng.integers(len(entry.values))]
        for name, entry in numbers.items()
    }


def plain(number: float) -> str:
    """Writes a number as short as it is, without a zero before the point: ".44", "1,600"."""
    text = f"{round(number, 10):,.6g}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text
