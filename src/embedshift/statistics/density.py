"""How values are spread: a smooth curve."""

import numpy as np
from scipy.stats import gaussian_kde

from embedshift.arrays import Values

POINTS = 400
# Widths of the kernel that a curve goes on beyond the outermost value.
_TAIL = 3.0


def density(values: Values, low: float = -np.inf, high: float = np.inf) -> tuple[Values, Values] | None:
    """A Gaussian kernel density estimate (Scott's bandwidth) where the values are: x `[400]` and density `[400]`.

    Args:
        values: Sample `[N]`.
        low: The least value possible; the curve ends there.
        high: The greatest value possible.

    Returns:
        None where there is no density: fewer than two values, or all equal.

    Example:
        >>> density(np.array([1.0, 1.0])) is None
        True
    """
    if len(values) < 2 or np.ptp(values) <= 1e-9 * max(1.0, float(np.abs(values).max())):
        return None
    kernel = gaussian_kde(values)
    tail = _TAIL * float(np.sqrt(kernel.covariance[0, 0]))
    x = np.linspace(max(values.min() - tail, low), min(values.max() + tail, high), POINTS)
    return x, np.asarray(kernel(x))
