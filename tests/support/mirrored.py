"""scipy's density of values that have bounds: that of the values and of their mirror images behind the bounds."""

import numpy as np
from scipy.stats import gaussian_kde


def density(values: np.ndarray, x: np.ndarray, *bounds: float) -> np.ndarray:
    """At the points x, for values whose kernels reach behind one bound at most."""
    kernel = gaussian_kde(values)
    return np.asarray(kernel(x) + sum(kernel(2 * bound - x) for bound in bounds if np.isfinite(bound)))
