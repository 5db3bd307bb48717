"""Formats numbers for readers, with as many decimals as the interval supports."""

import math
from collections.abc import Iterable

from embedshift.registry import METRICS
from embedshift.statistics.strengths import outward

MISSING = "–"


def decimals(low: float, high: float) -> int:
    """Returns the decimals that show the width of an interval with two figures; from 0 to 6."""
    width = high - low
    return min(6, max(0, 1 - math.floor(math.log10(width)))) if width > 0 else 3


def interval_decimals(low: float, high: float, least: int = 2) -> int:
    """Returns decimals from `least` to 6 at which an interval that excludes 0 does not end in 0."""
    places, nearer = max(least, decimals(low, high)), min(abs(low), abs(high))
    while places < 6 and low * high > 0 and outward(nearer, nearer, places)[0] == 0:
        places += 1
    return places


def at_most(size: float) -> str:
    places = -math.floor(math.log10(size) + 1e-9) if size > 0 else 0
    return f"{outward(0.0, size, places)[1]:.10g}"


def fixed(value: float | None, places: int, *, signed: bool = False) -> str:
    """Formats a number with some decimals, and with a plus where it is signed; a dash if it is missing."""
    if value is None or math.isnan(value):
        return MISSING
    sign = "+" if signed else ""
    return f"{round(value, places) + 0.0:{sign}.{places}f}".replace("-", "−")  # no minus in front of a zero


def ends(low: float | None, high: float | None, places: int, *, signed: bool = False) -> str:
    """Formats an interval with some decimals, its ends rounded outwards; a dash if one is missing."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return MISSING
    return " to ".join(fixed(end, places, signed=signed) for end in outward(low, high, places))


def about(number: int) -> str:
    """Returns a number to two figures."""
    return f"{float(f'{number:.2g}'):,.0f}"


def with_interval(value: float | None, low: float | None, high: float | None) -> tuple[str, str]:
    """Formats a number and its interval; without an interval, two figures or more and four decimals at most."""
    if value is None or low is None or high is None:
        return fixed(value, 2 if value is None or value >= 0.1 else 3 if value >= 0.01 else 4), MISSING
    return at_places(value, low, high, interval_decimals(low, high))


def at_places(value: float | None, low: float | None, high: float | None, places: int) -> tuple[str, str]:
    """Formats a number and its interval with some decimals; a dash for each that is missing."""
    return fixed(value, places), ends(low, high, places)


def in_column(value: float | None, low: float | None = None, high: float | None = None) -> tuple[str, str]:
    """Formats a number of a column and its interval: all have three decimals, so that they can be compared."""
    return at_places(value, low, high, 3)


def with_ends(value: float | None, low: float | None, high: float | None, places: int, *, signed: bool = False) -> str:
    """Formats a number with its interval in brackets, which is left out where it is missing."""
    interval = ends(low, high, places, signed=signed)
    return fixed(value, places, signed=signed) + ("" if interval == MISSING else f" ({interval})")


def significant(value: float | None, low: float | None, high: float | None) -> str:
    """Formats a difference to two figures with a sign, and its interval with as many decimals."""
    if value is None or low is None or high is None:
        return MISSING if value is None else f"{value:+#.2g}".replace("-", "−")
    return with_ends(value, low, high, interval_decimals(low, high, 0), signed=True)


def times(ratio: float, low: float, high: float) -> tuple[str, str]:
    return at_places(ratio, low, high, interval_decimals(low - 1, high - 1, 0))


def in_percent(value: float | None, low: float | None = None, high: float | None = None) -> tuple[str, str]:
    if value is None:
        return MISSING, MISSING
    if low is None or high is None:
        return f"{fixed(100 * value, 1)} %", MISSING
    number, interval = at_places(100 * value, 100 * low, 100 * high, max(1, decimals(100 * low, 100 * high)))
    return f"{number} %", f"{interval} %"


def metric_decimals(metric: str, largest: float | None) -> int:
    """Returns decimals for a metric's column: three if it is bounded, else four figures of its largest value."""
    if metric in METRICS and math.isfinite(METRICS[metric].high):
        return 3
    if largest is None or not largest > 0:
        return 3
    return min(6, max(0, 3 - math.floor(math.log10(largest))))


def count(number: int, noun: str, of: int | None = None) -> str:
    """Returns "1 image" or "2,000 images"; and "2,000 of 4,000 images" for a part of all."""
    if of is None or of == number:
        return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
    return f"{number:,} of {count(of, noun)}"


def listed(words: Iterable[str], most: int = 5) -> str:
    *first, last = words
    if len(first) >= most:
        first, last = first[: most - 1], f"{len(first) + 2 - most} more"
    return f"{', '.join(first)} and {last}" if first else last


def shorten(text: str, most: int = 300) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
