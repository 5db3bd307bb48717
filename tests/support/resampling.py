"""The bootstrap in slow loops, one resample at a time: references for intervals."""

import numpy as np
from scipy.stats import rankdata


def slow_bootstrap_t(values: np.ndarray, *, seed: int, resamples: int = 4_000) -> tuple[float, float]:
    """Efron's bootstrap-t 95 % interval of a mean."""
    rng = np.random.default_rng(seed)
    mean, error = values.mean(), values.std(ddof=1) / np.sqrt(len(values))
    deviations = []
    for _ in range(resamples):
        again = rng.choice(values, len(values))
        deviations.append((again.mean() - mean) / (again.std(ddof=1) / np.sqrt(len(again))))
    low, high = np.quantile(deviations, (0.025, 0.975))
    return mean - high * error, mean - low * error


def balanced(drawn: np.ndarray, level: float = 0.95) -> np.ndarray:
    """Critical values of several deviations `[R, K]`: at the rank that the highest of a resample exceeds in 5 %."""
    order = np.stack([rankdata(column, method="min") - 1 for column in drawn.T], axis=1)
    highest = sorted(max(row) for row in order)[int(np.ceil(level * (len(drawn) - 1)))]
    return np.array([sorted(column)[int(highest)] for column in drawn.T])


def slow_max_t(columns: np.ndarray, *, seed: int, resamples: int = 4_000) -> np.ndarray:
    """The critical values of several means `[n, K]`, each for its own deviation (Beran's balanced max-T)."""
    rng = np.random.default_rng(seed)
    mean, found = columns.mean(axis=0), []
    for _ in range(resamples):
        again = columns[rng.integers(len(columns), size=len(columns))]
        found.append(np.abs(again.mean(axis=0) - mean) / (again.std(axis=0, ddof=1) / np.sqrt(len(columns))))
    return balanced(np.array(found))
