"""The numbers of augmentations: drawn within ranges, and written in descriptions."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np


class Range(NamedTuple):
    """The ends of a range; `format(range, "%")` writes them in percent.

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


# Ranges, and words of which one is drawn.
Ranges = Mapping[str, Range | tuple[str, ...]]


def drawn(ranges: Ranges, rng: np.random.Generator) -> dict[str, Any]:
    """Draws every number evenly within its range."""
    return {
        name: float(rng.uniform(*entry)) if isinstance(entry, Range) else entry[rng.integers(len(entry))]
        for name, entry in ranges.items()
    }


def plain(number: float) -> str:
    """Writes a number as short as it is, without a zero before the point: ".44", "1,600"."""
    return f"{round(number, 10):,.6g}".replace("0.", ".", abs(number) < 1)
