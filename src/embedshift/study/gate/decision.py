"""Decides whether a number with its interval keeps or breaks a bound, or whether there are too few images to decide."""

import math
from dataclasses import dataclass
from typing import Literal

from embedshift.statistics.intervals import LEAST_IMAGES, PLANNED
from embedshift.study.paired import Estimate

Outcome = Literal["kept", "broken", "undecided"]

# More images than any study will have, and how far rounding may carry a number over its bound.
MOST_IMAGES, ROUNDING = 10**9, 1e-12

FEW = f"no interval with fewer than {LEAST_IMAGES} images"
NO_INTERVAL = "no interval: too few images differ"
AT_BOUND = "more images do not help: the value equals the bound"
BEYOND = "the study has no stronger levels: measure stronger levels"
MORE = "more images would decide it; their number is unknown, because the value lies beyond the strongest level"
NO_VALUE = "no value"


@dataclass(frozen=True)
class Decision:
    """Whether a rule is kept, how many images would decide it if it is undecided, and a remark."""

    outcome: Outcome
    images_needed: int | None = None
    note: str = ""


def decide(estimate: Estimate, bound: float, *, least: bool, by_interval: bool = True) -> Decision:
    slack = ROUNDING * max(1.0, abs(bound))
    if math.isnan(estimate.value):
        return Decision("undecided", note=estimate.note or NO_VALUE)
    low, high = (estimate.low, estimate.high) if by_interval else _span_of_value(estimate)
    outcome = _outcome(low, high, bound, least, slack)
    if outcome != "undecided":
        return Decision(outcome, note=estimate.note)
    if math.isnan(low) or math.isnan(high):
        few = estimate.images < LEAST_IMAGES
        return Decision("undecided", LEAST_IMAGES if few else None, estimate.note or (FEW if few else NO_INTERVAL))
    if math.isinf(estimate.value):
        return Decision("undecided", note=BEYOND if (bound - estimate.edge) * estimate.value > 0 else MORE)
    needed = images_needed(estimate, bound, least=least)
    remark = AT_BOUND if abs(estimate.value - bound) <= slack else BEYOND if math.isinf(low) or math.isinf(high) else ""
    return Decision("undecided", needed, estimate.note or ("" if needed is not None else remark))


def _span_of_value(estimate: Estimate) -> tuple[float, float]:
    """Returns the range in which the value lies: itself, or anything beyond the last measured number."""
    if math.isinf(estimate.value):
        return min(estimate.value, estimate.edge), max(estimate.value, estimate.edge)
    return estimate.value, estimate.value


def _outcome(low: float, high: float, bound: float, least: bool, slack: float) -> Outcome:
    if low >= bound - slack if least else high <= bound + slack:
        return "kept"
    return "broken" if (high < bound - slack if least else low > bound + slack) else "undecided"


def images_needed(estimate: Estimate, bound: float, *, least: bool) -> int | None:
    """Returns how many images would decide in 80 % of studies, if the truth is as measured."""

    def decides(images: int) -> bool:
        return _outcome(*estimate.interval(images), bound, least, ROUNDING) != "undecided"

    if not math.isfinite(estimate.value) or abs(estimate.value - bound) <= ROUNDING * max(1.0, abs(bound)):
        return None
    enough = max(1, estimate.images)
    while not decides(enough):
        enough *= 2
        if enough > MOST_IMAGES:
            return None
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if decides(middle) else (middle, enough)
    # Of a proportion of 1, every study would find 1.
    return math.ceil(enough * PLANNED) if estimate.low < estimate.value < estimate.high else enough
