"""Decides whether a number with its interval keeps or breaks a bound, or whether there are too few images to decide."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from embedshift.statistics.intervals import LEAST_IMAGES

Outcome = Literal["kept", "broken", "undecided"]
Ends = Callable[[int], tuple[float, float]]

# More images than any study will have, and how far rounding may carry a number over its bound.
MOST_IMAGES, ROUNDING = 10**9, 1e-12

FEW = f"no interval with fewer than {LEAST_IMAGES} images"
NO_INTERVAL = "no interval: too few images differ"
AT_BOUND = "more images do not help: the value equals the bound"
BEYOND = "the study has no stronger levels: measure stronger levels"
MORE = "more images would decide it; their number is unknown, because the value lies beyond the strongest level"
NO_VALUE = "no value"


@dataclass(frozen=True)
class Estimate:
    """A measured number with its interval."""

    value: float
    low: float
    high: float
    images: int
    at: Ends | None = None
    edge: float = math.nan
    note: str = ""

    def judged(self, by_interval: bool) -> tuple[float, float]:
        """Returns the two ends of what decides: the interval, or the value (if infinite, `edge` and the value)."""
        if by_interval:
            return self.low, self.high
        if math.isinf(self.value):
            return min(self.value, self.edge), max(self.value, self.edge)
        return self.value, self.value

    def ends(self, images: int) -> tuple[float, float]:
        """Returns the interval that `images` images would give."""
        if self.at is not None:
            return self.at(images)
        scale = math.sqrt(self.images / images)
        return self.value - (self.value - self.low) * scale, self.value + (self.high - self.value) * scale

    def mirrored(self) -> "Estimate":
        """Returns the same estimate with all signs reversed."""
        at = self.at
        turned: Ends | None = None if at is None else lambda images: _turned(*at(images))
        return replace(self, value=-self.value, low=-self.high, high=-self.low, at=turned, edge=-self.edge)


def _turned(low: float, high: float) -> tuple[float, float]:
    return -high, -low


@dataclass(frozen=True)
class Decision:
    """Whether a rule is kept, how many images would decide it if it is undecided, and a remark."""

    outcome: Outcome
    images_needed: int | None = None
    note: str = ""


def decide(found: Estimate, bound: float, *, least: bool, by_interval: bool = True) -> Decision:
    """Decides a rule by the position of a number, or of its interval, relative to a bound."""
    if not least:
        found, bound = found.mirrored(), -bound
    slack = ROUNDING * max(1.0, abs(bound))
    if math.isnan(found.value):
        return Decision("undecided", note=found.note or NO_VALUE)
    low, high = found.judged(by_interval)
    if low >= bound - slack:
        return Decision("kept", note=found.note)
    if high < bound - slack:
        return Decision("broken", note=found.note)
    if math.isnan(low) or math.isnan(high):
        few = found.images < LEAST_IMAGES
        return Decision("undecided", LEAST_IMAGES if few else None, found.note or (FEW if few else NO_INTERVAL))
    if math.isinf(found.value):
        return Decision("undecided", note=BEYOND if (bound - found.edge) * found.value > 0 else MORE)
    needed = images_needed(found, bound)
    why = AT_BOUND if abs(found.value - bound) <= slack else BEYOND if math.isinf(low) or math.isinf(high) else ""
    return Decision("undecided", needed, found.note or ("" if needed is not None else why))


def images_needed(found: Estimate, bound: float) -> int | None:
    """Returns how many images would bring the interval to one side of a bound, if the numbers stay as they are."""

    def decided(images: int) -> bool:
        low, high = found.ends(images)
        return low >= bound - ROUNDING or high < bound - ROUNDING

    if not math.isfinite(found.value) or abs(found.value - bound) <= ROUNDING * max(1.0, abs(bound)):
        return None
    enough = max(1, found.images)
    while not decided(enough):
        enough *= 2
        if enough > MOST_IMAGES:
            return None
    short = enough // 2
    while enough - short > 1:
        middle = (short + enough) // 2
        short, enough = (short, middle) if decided(middle) else (middle, enough)
    return enough
