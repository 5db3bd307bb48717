"""When a study has enough images: the width of every relative shift's interval, as a fraction of the shift."""

import numpy as np
import scipy

from embedshift.arrays import Values
from embedshift.statistics.baselines import Baseline, is_scale, relative_shift, relative_shifts, standard_errors
from embedshift.statistics.intervals import LEVEL
from embedshift.statistics.sample import Estimates

# A smaller relative shift counts as this one: what hardly moves cannot be known in relation to itself.
SMALL = 0.1
# Images, and groups of them, below which no interval is trusted to be narrow: a sample may lack the few images that an
# augmentation moves far. So they are more if an augmentation's shifts are skewed, by more than an exponential law's.
LEAST, LEAST_OF_SKEWED, SKEWNESS = (64, 20), (256, 64), 2.0


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


def has_least(sample: Estimates, images: int) -> bool:
    off = np.nan_to_num(sample.values - sample.mean) if sample.in_memory else np.zeros((1, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        skewness = np.abs((off**3).mean(axis=0)) / np.square(off).mean(axis=0) ** 1.5
    least_images, least_groups = LEAST_OF_SKEWED if (skewness > SKEWNESS).any() else LEAST
    return images >= least_images and (sample.units is None or sample.images >= least_groups)
