"""Kernel density estimates: how values are spread, as a smooth curve."""

import numpy as np

from embedshift.arrays import Values

POINTS = 400
# Widths of the kernel that a curve goes on beyond the outermost value, and beyond which a kernel counts nothing.
_TAIL, _REACH = 3.0, 8.0
# Values whose kernels are in memory at once.
_AT_ONCE = 4_096


def density(values: Values, low: float = -np.inf, high: float = np.inf) -> tuple[Values, Values] | None:
    if len(values) < 2 or np.ptp(values) <= 1e-9 * max(1.0, float(np.abs(values).max())):
        return None
    width = float(values.std(ddof=1)) * len(values) ** -0.2
    start, end = float(values.min()), float(values.max())
    x = np.linspace(max(start - _TAIL * width, low), min(end + _TAIL * width, high), POINTS)
    near = start - _REACH * width, end + _REACH * width
    return x, sum((_within(values, width, image, near) for image in _images(x, low, high)), np.zeros(POINTS))


def _images(x: Values, low: float, high: float) -> list[Values]:
    """Returns the points and their mirror images at the bounds; with two bounds also at the mirrored bounds."""
    if not np.isfinite([low, high]).all():
        return [x, *(2 * bound - x for bound in (low, high) if np.isfinite(bound))]
    return [image + 2 * turn * (high - low) for turn in (-1, 0, 1) for image in (x, 2 * low - x)]


def _within(values: Values, width: float, x: Values, near: tuple[float, float]) -> Values:
    """Returns the density at points near the values; 0 elsewhere, to save time."""
    densities, present = np.zeros(len(x)), (x > near[0]) & (x < near[1])
    if present.any():
        # SciPy's version would import all of its statistics, and solve a system of one equation each time.
        for start in range(0, len(values), _AT_ONCE):
            away = (x[present, None] - values[start : start + _AT_ONCE]) / width
            densities[present] += np.exp(-(away**2) / 2).sum(axis=1)
        densities /= len(values) * width * np.sqrt(2 * np.pi)
    return densities
