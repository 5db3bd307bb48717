"""Pairs of images, thresholds that few reach, matching views, and recall; in float32, so that copies are equal."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import GroupNumbers, Values
from embedshift.errors import UsageError
from embedshift.statistics.intervals import (
    CONFIDENCE,
    LEAST_IMAGES,
    bounded_interval,
    clopper_pearson,
    ends_or_nan,
    mean_interval,
    proportion_interval,
)
from embedshift.statistics.layout import image_means, sums_and_counts
from embedshift.statistics.paired import paired_gains
from embedshift.statistics.sample import RESAMPLES, Estimates, estimates_from_values, gather, weights
from embedshift.statistics.summary import DIFFERENCES_SCHEMA
from embedshift.statistics.vectors import normalised

# Number of images whose pairs are all held in memory: 33.5 million pairs, of 8 bytes each.
MOST_IMAGES = 8_192
# The least number of matching pairs for which a rate is defined.
_LEAST_PAIRS = 10
_BLOCK = 512
CI: dict[str, type[pl.DataType]] = dict.fromkeys(("ci_low", "ci_high"), pl.Float64)
THRESHOLDS: dict[str, type[pl.DataType]] = {"false_match_rate": pl.Float64, "threshold": pl.Float64, **CI}
Cosines = NDArray[np.float32]
Indices = NDArray[np.uint16]


@dataclass(frozen=True)
class Pairs:
    """All pairs of images that have a direction and are of different groups, the most similar first."""

    cosines: Cosines
    first: Indices
    second: Indices
    valid: NDArray[np.bool_]
    # Of the images that have a direction; None = images are independent.
    groups: GroupNumbers | None = None

    @property
    def images(self) -> int:
        return int(self.valid.sum())

    @property
    def equivalent_images(self) -> int:
        return (1 + math.isqrt(1 + 8 * len(self.cosines))) // 2 if len(self.cosines) else min(1, self.images)


def all_pairs(originals: ArrayLike, groups: GroupNumbers | None = None) -> Pairs:
    vectors = normalised(originals)
    if len(vectors) > MOST_IMAGES:
        raise ValueError(f"all pairs of {len(vectors)} images are too many: {MOST_IMAGES} at most")
    valid = np.asarray(np.isfinite(vectors).all(axis=1))
    rows = np.flatnonzero(valid).astype(np.uint16)
    vectors = vectors[valid]
    n = len(vectors)
    cosines = np.empty(n * (n - 1) // 2, np.float32)
    end = 0
    for start in range(0, n, _BLOCK):
        block = np.clip(vectors[start : start + _BLOCK] @ vectors[start:].T, -1.0, 1.0)
        for row, row_cosines in enumerate(block):
            begin, end = end, end + n - start - row - 1
            cosines[begin:end] = row_cosines[row + 1 :]
    order = np.argsort(-cosines, kind="stable")
    first = np.repeat(rows, np.arange(n)[::-1])[order]
    second = np.concatenate([rows[:0], *(rows[row + 1 :] for row in range(n))])[order]
    if groups is None:
        return Pairs(cosines[order], first, second, valid)
    apart = groups[first] != groups[second]
    return Pairs(cosines[order][apart], first[apart], second[apart], valid, groups[: len(valid)][valid])


def least_false_match_rate(images: int) -> float:
    """Returns the least false-match rate that `images` images allow: that of ten pairs."""
    return _LEAST_PAIRS / (images * (images - 1) / 2) if images > 1 else math.inf


def check_false_match_rate(false_match_rates: Sequence[float], images: int) -> None:
    for false_match_rate in false_match_rates:
        if false_match_rate < least_false_match_rate(images):
            needed = math.ceil((1 + math.sqrt(1 + 8 * _LEAST_PAIRS / false_match_rate)) / 2)
            least = least_false_match_rate(images)
            instead = f"use {least:.2g} or more" if least < 1 else "measure more images"
            raise UsageError(
                f"`false_match_rate` {false_match_rate:g} needs {needed} images with non-zero embeddings, "
                f"there are {images}: {instead}"
            )


def allowed_pairs(false_match_rate: float, count: float) -> int:
    """Returns how many of `count` pairs may match at a rate; rounding errors near integers are removed."""
    return int(false_match_rate * count * (1 + 1e-12) + 1e-9)


def threshold(pairs: Pairs, false_match_rate: float) -> float:
    """Returns the least cosine that at most a fraction `false_match_rate` of all pairs reaches."""
    allowed = allowed_pairs(false_match_rate, len(pairs.cosines))
    if allowed >= len(pairs.cosines):
        return float(pairs.cosines[-1])
    # Those above the first pair that is one too many.
    above = np.searchsorted(-pairs.cosines, -pairs.cosines[allowed])
    return float(pairs.cosines[above - 1]) if above else math.nan


def resampled_thresholds(pairs: Pairs, false_match_rate: float, seed: int) -> Values:
    """Thresholds of resamples of images, or groups; one drawn c times counts c times, its copies are no pair."""
    rows = np.cumsum(pairs.valid) - 1
    top = min(len(pairs.cosines), 2 * allowed_pairs(false_match_rate, len(pairs.cosines)) + 200)
    groups = np.arange(pairs.images) if pairs.groups is None else np.unique(pairs.groups, return_inverse=True)[1]
    sizes = np.bincount(groups)
    parts = [
        part
        for drawn in weights(len(sizes), seed=seed, resamples=RESAMPLES)
        for part in _weighted_thresholds(
            pairs,
            false_match_rate,
            drawn[:, groups].T.astype(np.float32),
            ((drawn * sizes) ** 2).sum(axis=1),
            rows,
            top,
        )
    ]
    return np.concatenate(parts)


def _weighted_thresholds(
    pairs: Pairs, false_match_rate: float, counts: Cosines, within: Values, rows: NDArray[np.intp], top: int
) -> list[Values]:
    """Returns thresholds of resamples `[n, r]`, some at a time; starts with the `top` pairs, then doubles them."""
    # `within` is the number of ordered pairs within groups, of an image with itself too, `[r]`.
    step, thresholds = max(1, 2**22 // top), list[Values]()
    for start in range(0, counts.shape[1], step):
        part = counts[:, start : start + step]
        total = part.sum(axis=0, dtype=np.float64)
        allowed = false_match_rate * (total**2 - within[start : start + step]) / 2 * (1 + 1e-12) + 1e-9
        count = top
        while True:
            times = part[rows[pairs.first[:count]]] * part[rows[pairs.second[:count]]]
            reached = np.cumsum(times, axis=0, dtype=np.float64)
            if count == len(pairs.cosines) or (reached[-1] > allowed).all():
                break
            count = min(2 * count, len(pairs.cosines))
        thresholds.append(_least_allowed(pairs.cosines[:count], times, reached <= allowed))
    return thresholds


def _least_allowed(cosines: Cosines, times: Cosines, allowed: NDArray[np.bool_]) -> Values:
    refused = np.where(allowed.all(axis=0), len(cosines), allowed.argmin(axis=0))
    limit = np.append(cosines, -np.inf)[refused]
    fits = (cosines[:, None] > limit) & (times > 0)
    last = len(cosines) - 1 - fits[::-1].argmax(axis=0)
    return np.where(fits.any(axis=0), cosines[last].astype(np.float64), np.inf)


def thresholds(pairs: Pairs, false_match_rates: Sequence[float], seed: int) -> pl.DataFrame:
    """Returns thresholds at some false-match rates with 95 % intervals: percentiles over resamples of the images."""
    check_false_match_rate(false_match_rates, pairs.equivalent_images)
    rows, tail = [], (1 - CONFIDENCE) / 2
    for false_match_rate in false_match_rates:
        low = high = math.nan
        if (pairs.images if pairs.groups is None else len(np.unique(pairs.groups))) >= LEAST_IMAGES:
            resampled = resampled_thresholds(pairs, false_match_rate, seed)
            ends = np.quantile(resampled, (tail, 1 - tail), method="nearest")
            low, high = np.where(np.isfinite(ends), ends, np.nan).tolist()
        rows.append((false_match_rate, threshold(pairs, false_match_rate), low, high))
    return pl.DataFrame(rows, schema=THRESHOLDS, orient="row").fill_nan(None)


RECALLS = {f"recall@{k}": k for k in (1, 5, 10)}
MRR, OVERLAP, AUC = "mrr", "knn_overlap@10", "auc"
# Of the table `search`; n counts views.
OF_VIEWS: dict[str, type[pl.DataType]] = {"n": pl.Int64, "value": pl.Float64, **CI}
SCHEMA: dict[str, type[pl.DataType]] = {"augmentation": pl.String, "metric": pl.String, **OF_VIEWS}
# Metric → value with the ends of its interval, and how many views it is of.
Numbers = dict[str, tuple[float, ...]]


def recall_metrics(ranks: pl.DataFrame, *, seed: int, groups: GroupNumbers | None = None) -> Numbers:
    draws = max(1, len(ranks) // max(1, ranks["image_id"].n_unique()))
    rank, overlap = (by_image(ranks[name], draws) for name in ("rank", "knn_overlap"))
    with np.errstate(invalid="ignore"):
        is_recalled = [np.where(np.isnan(rank), np.nan, rank <= k) for k in RECALLS.values()]
    parts = [sums_and_counts(np.stack(values, axis=-1)) for values in (is_recalled, (1.0 / rank, overlap))]
    fractions, means = (gather([part], together=False, groups=groups) for part in parts)
    recalls = [fractions.counts, fractions.mean, *proportion_interval(fractions)]
    ends = np.array(mean_interval(means, seed=seed, low=0.0, high=1.0))
    with np.errstate(invalid="ignore"):
        of_images = parts[1][0] / parts[1][1]
    # If few images differ, or none, a bootstrap has no interval.
    has_bootstrap = np.isfinite(ends).all(axis=0) & (means.variance > 0)
    others = [
        means.counts,
        means.mean,
        *np.where(has_bootstrap, ends, bounded_interval(of_images, 0.0, 1.0, seed=seed, groups=groups)),
    ]
    columns = (np.append(*pair).tolist() for pair in zip(recalls, others, strict=True))
    numbers = ((int(n), *ends) for n, *ends in zip(*columns, strict=True))
    return dict(zip((*RECALLS, MRR, OVERLAP), numbers, strict=True))


def by_image(values: pl.Series, draws: int) -> Values:
    return values.cast(pl.Float64).fill_null(np.nan).to_numpy().reshape(-1, draws)


def paired(metric: str, found: Values, names: Sequence[str], groups: GroupNumbers | None, seed: int) -> pl.DataFrame:
    """Returns rows of `differences` from numbers from 0 to 1 of views, `[n, draws, A]`."""
    first, second = np.triu_indices(len(names), k=1)
    by_augmentation = image_means(found)
    groups = None if groups is None else groups[: len(found)]
    gains = paired_gains(by_augmentation, groups, seed=seed)
    sd = estimates_from_values(by_augmentation[:, first] - by_augmentation[:, second]).sd
    with np.errstate(invalid="ignore", divide="ignore"):
        effect = np.where(sd > 0, gains.difference / sd, np.nan)
    labels = np.array(names, dtype=object)
    columns = {
        "augmentation": labels[first],
        "other": labels[second],
        "metric": [metric] * len(first),
        "difference": gains.difference,
        "effect": effect,
        **vars(gains.intervals),
    }
    none = dict.fromkeys(("ratio", "ratio_low", "ratio_high"))
    return pl.DataFrame(columns | none, DIFFERENCES_SCHEMA).fill_nan(None)


# False-match rates at which a ROC is read.
RATES = np.logspace(-6, 0, 97)
MATCHES: dict[str, type[pl.DataType]] = {"augmentation": pl.String, "false_match_rate": pl.Float64, **OF_VIEWS}
ROC: dict[str, type[pl.DataType]] = {"augmentation": pl.String, "false_match_rate": pl.Float64, "tpr": pl.Float64}


def image_estimates(values: Values, groups: GroupNumbers | None = None) -> Estimates:
    """Makes a sample of one number per view `[m, draws]` with image or group as unit; NaN if a view has none."""
    return gather([sums_and_counts(np.asarray(values, np.float64)[:, :, None])], groups=groups)


def matches(
    cosines: Mapping[str, Values], thresholds: pl.DataFrame, groups: GroupNumbers | None = None
) -> pl.DataFrame:
    """Returns the proportion of views whose cosine with their original reaches a threshold, which counts as exact."""
    rows = []
    for name, values in cosines.items():
        single = values.astype(np.float32)
        for false_match_rate, threshold in thresholds.select("false_match_rate", "threshold").iter_rows():
            if threshold is None or np.isnan(values).all():
                rows.append((name, false_match_rate, int((~np.isnan(values)).sum()), math.nan, math.nan, math.nan))
                continue
            sample = image_estimates(np.where(np.isnan(values), np.nan, single >= np.float32(threshold)), groups)
            low, high = (end.item() for end in proportion_interval(sample))
            rows.append((name, false_match_rate, int(sample.counts.item()), sample.mean.item(), low, high))
    return pl.DataFrame(rows, schema=MATCHES, orient="row").fill_nan(None)


def roc(cosines: Mapping[str, Values], pairs: Pairs) -> pl.DataFrame:
    rates = RATES[least_false_match_rate(pairs.equivalent_images) <= RATES]
    rows: list[tuple[str, float, float]] = []
    for name, values in cosines.items():
        positives = np.sort(values[~np.isnan(values)].astype(np.float32))
        if not len(positives):
            continue
        for rate in rates.tolist():
            allowed = allowed_pairs(rate, len(pairs.cosines))
            # Every cosine above that of the first excess pair matches.
            below = (
                np.searchsorted(positives, pairs.cosines[allowed], side="right") if allowed < len(pairs.cosines) else 0
            )
            rows.append((name, rate, 1 - below / len(positives)))
    return pl.DataFrame(rows, schema=ROC, orient="row")


def auc(cosines: Mapping[str, Values], pairs: Pairs) -> pl.DataFrame:
    """How often a view is nearer to its original than two different images are to each other; ties count half."""
    rows = []
    for name, values in cosines.items():
        views = int((~np.isnan(values)).sum())
        if views and len(pairs.cosines):
            sample = auc_values(values, pairs)
            low, high = auc_interval(sample)
            rows.append((name, "auc", views, sample.mean.item(), low.item(), high.item()))
        else:
            rows.append((name, "auc", views, math.nan, math.nan, math.nan))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").fill_nan(None)


def auc_values(cosines: Values, pairs: Pairs) -> Estimates:
    """Returns numbers of images whose mean is the AUC and whose spread is its error, including that of the pairs."""
    has_cosine = ~np.isnan(cosines)
    positives = cosines[has_cosine].astype(np.float32)
    count = len(pairs.cosines)
    reach, above = (np.searchsorted(-pairs.cosines, -positives, side=side) for side in ("right", "left"))
    placements = np.full(cosines.shape, np.nan)
    placements[has_cosine] = 1 - (reach + above) / 2 / count
    views = image_estimates(placements)
    # The number of positives above each pair, ties half: a step at the first pair that each of them is above.
    steps = np.bincount(reach, minlength=count + 1) + np.bincount(above, minlength=count + 1)
    fraction = np.cumsum(steps[:count]) / 2 / len(positives)
    m = len(pairs.valid)
    total = np.bincount(pairs.first, fraction, minlength=m) + np.bincount(pairs.second, fraction, minlength=m)
    assert views.values is not None
    partners = np.bincount(pairs.first, minlength=m) + np.bincount(pairs.second, minlength=m)
    per_image = 2 * count / pairs.images
    by_pairs = total[pairs.valid] / per_image - views.mean * (partners[pairs.valid] / per_image)
    return estimates_from_values(views.values[pairs.valid] + 2 * by_pairs[:, None], pairs.groups)


def auc_interval(sample: Estimates) -> tuple[Values, Values]:
    """Returns the 95 % interval of an AUC: Clopper and Pearson's at the number of comparisons with the same error.

    The error is that of the images and of one more that loses every comparison, since an image that moves as far may be
    rare. So an AUC of 1 has the interval of as many proportions as there are images.
    """
    p, n = np.clip(sample.mean, 0.0, 1.0), sample.group_count
    lost = np.minimum(p, 1 - p)
    wider = scipy.special.stdtrit(max(n - 1, 1), (1 + CONFIDENCE) / 2) / scipy.special.ndtri((1 + CONFIDENCE) / 2)
    squares = n * sample.variance * wider**2 / (1 - lost)
    comparisons = n * (n * lost + 1) / (squares + 1)
    return ends_or_nan(sample, *clopper_pearson(p * comparisons, comparisons))
