"""Tango's interval by its equation alone: a reference."""

import math

from scipy import optimize


def slow_tango(gained: float, lost: float, images: float, z: float) -> tuple[float, float]:
    """Tango's score interval (1998) of paired proportions, from numbers of images; its ends by bisection."""

    def upper(first: float, second: float) -> float:
        def off(difference: float) -> float:
            # The likeliest fraction lost, q, solves 2n q² + b q + c = 0.
            b, c = (2 * images - first + second) * difference - first - second, -second * difference * (1 - difference)
            q = (math.sqrt(b * b - 8 * images * c) - b) / (4 * images)
            variance = images * (2 * q + difference * (1 - difference))
            return first - second - images * difference + z * math.sqrt(max(variance, 0.0))

        value = (first - second) / images  # a root itself where nothing differs
        return 1.0 if value >= 1 else float(optimize.bisect(off, value + 1e-12, 1 - 1e-12, xtol=1e-14))

    return -upper(lost, gained), upper(gained, lost)
