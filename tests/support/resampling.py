"""The bootstrap in slow loops, one resample at a time: references for intervals."""

import numpy as np


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


def slow_max_t(columns: np.ndarray, *, seed: int, resamples: int = 4_000) -> float:
    """The critical value of the largest studentised deviation of several means `[n, K]`."""
    rng = np.random.default_rng(seed)
    mean, largest = columns.mean(axis=0), []
    for _ in range(resamples):
        again = columns[rng.integers(len(columns), size=len(columns))]
        largest.append(np.max(np.abs(again.mean(axis=0) - mean) / (again.std(axis=0, ddof=1) / np.sqrt(len(columns)))))
    return float(np.quantile(largest, 0.95))
