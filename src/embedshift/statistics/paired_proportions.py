"""The difference of two paired proportions, with an interval that has a width even if no image differs."""

import math

import scipy

from embedshift.statistics.intervals import LEVEL

_Z = float(scipy.special.ndtri((1 + LEVEL) / 2))


def difference_of_relative_shifts(gained: float, lost: float, number: float) -> tuple[float, float]:
    """Returns Tango's 95 % score interval of the difference of two paired proportions."""
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
