"""Formats numbers for readers, with as many decimals as the interval supports."""

import math
from collections.abc import Iterable

from embedshift.registry import METRICS

MISSING = "–"


def decimals(low: float, high: float) -> int:
    """Returns the decimals that show the width of an interval with two figures; from 0 to 6.

    Example:
        >>> decimals(0.39, 0.65), decimals(36.3, 48.6), decimals(0.9932, 0.9956)
        (2, 0, 4)
    """
    width = high - low
    return min(6, max(0, 1 - math.floor(math.log10(width)))) if width > 0 else 3


def interval_decimals(low: float, high: float, least: int = 2) -> int:
    """Returns decimals from `least` to 6 at which an interval that excludes 0 does not end in 0.

    Example:
        >>> interval_decimals(0.2, 0.4), interval_decimals(0.0004, 0.2)
        (2, 4)
    """
    places = max(least, decimals(low, high))
    while places < 6 and low * high > 0 and round(min(abs(low), abs(high)), places) == 0:
        places += 1
    return places


def fixed(value: float | None, places: int) -> str:
    """Formats the value with `places` decimals; a dash for None.

    Example:
        >>> fixed(0.98765, 3), fixed(None, 3), fixed(-0.00001, 3)
        ('0.988', '–', '0.000')
    """
    if value is None or math.isnan(value):
        return MISSING
    return f"{round(value, places) + 0.0:.{places}f}".replace("-", "−")  # no minus in front of a zero


def with_interval(value: float | None, low: float | None, high: float | None) -> tuple[str, str]:
    """Formats a share and its interval; without an interval with at least two figures and at most four decimals.

    Example:
        >>> with_interval(0.1234, 0.11, 0.14), with_interval(0.0123, None, None)
        (('0.123', '0.110 to 0.140'), ('0.012', '–'))
    """
    if value is None or low is None or high is None:
        return fixed(value, 2 if value is None or value >= 0.1 else 3 if value >= 0.01 else 4), MISSING
    places = interval_decimals(low, high)
    return fixed(value, places), f"{fixed(low, places)} to {fixed(high, places)}"


def in_percent(value: float | None, low: float | None = None, high: float | None = None) -> tuple[str, str]:
    """Formats a share and its interval in percent, with at least one decimal.

    Example:
        >>> in_percent(0.975, 0.943, 0.992), in_percent(0.5)
        (('97.5 %', '94.3 to 99.2 %'), ('50.0 %', '–'))
    """
    if value is None:
        return MISSING, MISSING
    if low is None or high is None:
        return f"{fixed(100 * value, 1)} %", MISSING
    places = max(1, decimals(100 * low, 100 * high))
    return f"{fixed(100 * value, places)} %", f"{fixed(100 * low, places)} to {fixed(100 * high, places)} %"


def places_of(metric: str, largest: float | None) -> int:
    """Returns decimals for a metric's column: three if it is bounded, else four figures of its largest value.

    Example:
        >>> places_of("cosine_similarity", 0.99), places_of("l2_distance", 42.5)
        (3, 2)
    """
    if metric in METRICS and math.isfinite(METRICS[metric].high):
        return 3
    if largest is None or not largest > 0:
        return 3
    return min(6, max(0, 3 - math.floor(math.log10(largest))))


def count(number: int, noun: str) -> str:
    """Formats a number with its noun.

    Example:
        >>> count(1, "image"), count(13312, "image")
        ('1 image', '13,312 images')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(words: Iterable[str]) -> str:
    """Joins words as in a sentence.

    Example:
        >>> listed(["a", "b", "c"])
        'a, b and c'
    """
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def shorten(text: str, most: int = 300) -> str:
    """Cuts a text to at most `most` characters.

    Example:
        >>> shorten("abcdef", 4)
        'abc…'
    """
    return text if len(text) <= most else text[: most - 1] + "…"
