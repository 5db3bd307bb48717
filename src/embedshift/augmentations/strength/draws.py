"""Random draws of families; they do not depend on the strength, so that all levels share one draw."""

import numpy as np

from embedshift.arrays import Values


def signs(rng: np.random.Generator, count: int) -> Values:
    """Returns random signs, +1 or -1, float64 `[count]`."""
    return np.asarray(rng.integers(0, 2, count) * 2.0 - 1.0)


def directions(rng: np.random.Generator, count: int) -> Values:
    """Returns random directions as unit vectors, x before y, float64 `[count, 2]`."""
    angle = rng.uniform(0.0, 2.0 * np.pi, count)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def phases(rng: np.random.Generator, count: int) -> Values:
    """Returns random phases, from -0.5 to 0.5, float64 `[count]`."""
    return rng.uniform(-0.5, 0.5, count)
