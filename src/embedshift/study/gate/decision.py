"""A number with its interval, and a bound → kept, broken, or not decided by so many images."""

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
    """What was measured.

    Args:
        value: NaN where there is none; infinite where it lies beyond what was measured.
        low: Lower end of its 95 % interval; NaN where there is none, infinite where it lies beyond what was measured.
        high: Upper end.
        images: How many images it is of.
        at: The ends that so many images would give at the same numbers; None = they come nearer to the value by the
            root of the number of images.
        edge: Of an infinite value, the last number that was measured.
        note: What a reader must know.
    """

    value: float
    low: float
    high: float
    images: int
    at: Ends | None = None
    edge: float = math.nan
    note: str = ""

    def judged(self, by_interval: bool) -> tuple[float, float]:
        """The least and the greatest number that it may be."""
        if by_interval:
            return self.low, self.high
        if math.isinf(self.value):
            return min(self.value, self.edge), max(self.value, self.edge)
        return self.value, self.value

    def ends(self, images: int) -> tuple[float, float]:
        """The interval that so many images would give.

        Example:
            >>> Estimate(0.5, 0.25, 0.75, 100).ends(400)
            (0.375, 0.625)
        """
        if self.at is not None:
            return self.at(images)
        scale = math.sqrt(self.images / images)
        return self.value - (self.value - self.low) * scale, self.value + (self.high - self.value) * scale

    def mirrored(self) -> "Estimate":
        """The same on an axis that runs the other way."""
        at = self.at
        turned: Ends | None = None if at is None else lambda images: _turned(*at(images))
        return replace(self, value=-self.value, low=-self.high, high=-self.low, at=turned, edge=-self.edge)


def _turned(low: float, high: float) -> tuple[float, float]:
    return -high, -low


@dataclass(frozen=True)
class Decision:
    """Whether a rule is kept, how many images would decide it where it is not decided, and why."""

    outcome: Outcome
    images_needed: int | None = None
    note: str = ""


def decide(found: Estimate, bound: float, *, least: bool, by_interval: bool = True) -> Decision:
    """Kept where the interval's end towards the bound is on the good side, broken where the whole interval is not.

    Args:
        found: What was measured.
        bound: Where the good side begins; it belongs to the good side.
        least: Whether the good side lies above.
        by_interval: Whether the interval decides; otherwise the value does.

    Example:
        >>> decide(Estimate(0.95, 0.91, 0.97, 100), 0.9, least=True).outcome
        'kept'
        >>> decide(Estimate(0.95, 0.91, 0.97, 100), 0.94, least=True)
        Decision(outcome='undecided', images_needed=1600, note='')
    """
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
    """The least number of images whose interval would lie on one side of a bound, if the numbers stay as they are.

    Returns:
        None where no number would do.

    Example:
        >>> images_needed(Estimate(0.5, 0.25, 0.75, 100), 0.375)
        400
    """

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
