"""When a study has enough images: the width of every relative shift's interval, as a fraction of the shift."""

import numpy as np
import scipy

from embedshift.arrays import Values
from embedshift.statistics.baselines import Baseline, is_scale, relative_shift, relative_shifts, standard_errors
from embedshift.statistics.intervals import LEVEL
from embedshift.statistics.sample import Estimates

# A smaller relative shift counts as this one: what hardly moves cannot be known in relation to itself.
SMALL = 0.1
# Before so many images, or groups of images, no interval is trusted to say that it is narrow.
LEAST_IMAGES, LEAST_GROUPS = 64, 20


def widths(
    sample: Estimates, baseline: Baseline, no_change: float, limits: tuple[float, float], *, seed: int, enough: float
) -> Values:
    """Returns by how much the further end of each interval is away, as a fraction of the relative shift, `[A]`.

    It is the wider one of Student's interval and of the one that tables show. While the first, which takes no
    resamples, has a width above `enough`, it is returned alone. NaN if there is no interval.
    """
    if not is_scale(baseline, no_change):
        return np.full(len(sample.mean), np.nan)
    value = relative_shift(sample.mean, baseline, no_change)
    scale = np.maximum(value, SMALL)
    t = scipy.special.stdtrit(np.maximum(sample.having - 1, 1), (1 + LEVEL) / 2)
    student = np.where(sample.having > 1, t * standard_errors(sample, baseline, no_change) / scale, np.nan)
    if not (student <= enough).all():
        return np.asarray(student)
    shown = relative_shifts(sample, baseline, no_change, seed=seed, limits=limits)
    return np.asarray(np.maximum(student, np.maximum(shown.high - value, value - shown.low) / scale))
