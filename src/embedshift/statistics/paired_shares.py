"""The difference of two paired proportions, with an interval that has a width even if no image differs."""

import math

import scipy

from embedshift.statistics.intervals import LEVEL

_Z = float(scipy.special.ndtri((1 + LEVEL) / 2))


def difference_of_shares(gained: float, lost: float, number: float) -> tuple[float, float]:
    """Returns Tango's 95 % score interval of the difference of two paired proportions.

    It contains the differences δ with ``(gained - lost - n δ)² <= z² n (2 q + δ (1 - δ))``, where q is the most likely
    proportion that is lost if the difference is δ (Tango 1998, Statistics in Medicine 17: 891-908). An image may gain
    or lose a fraction of 1, as the mean over its draws: its square is then smaller than the fraction, and the interval
    is conservative.

    Args:
        gained: Number of images that only the second proportion counts.
        lost: Number of images that only the first counts; `gained + lost` is at most `number`.
        number: Number of images, above 0.

    Returns:
        Lower and upper end of the interval of (gained - lost) / number, from -1 to 1.

    Example:
        >>> [round(end, 4) for end in difference_of_shares(0, 0, 200)], difference_of_shares(5, 0, 5)[1]
        ([-0.0188, 0.0188], 1.0)
    """
    return -_upper(lost, gained, number), _upper(gained, lost, number)


def _upper(gained: float, lost: float, number: float) -> float:
    value = (gained - lost) / number
    if value >= 1:
        return 1.0

    def beyond(difference: float) -> float:
        linear = (2 * number - gained + lost) * difference - gained - lost
        free = lost * difference * (1 - difference)
        q = (math.sqrt(max(0.0, linear**2 + 8 * number * free)) - linear) / (4 * number)
        variance = number * (2 * q + difference * (1 - difference))
        return (gained - lost - number * difference) ** 2 - _Z**2 * variance

    # Where nothing differs, the value itself is a root too.
    return float(scipy.optimize.brentq(beyond, value + 1e-9 * (1 - value), 1.0, xtol=1e-12))
