"""Recall of views, and how many match their original at thresholds that few pairs of different images reach."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import scipy

from embedshift.arrays import GroupNumbers, Values
from embedshift.statistics.intervals import (
    CONFIDENCE,
    bounded_interval,
    clopper_pearson,
    ends_or_nan,
    mean_interval,
    proportion_interval,
)
from embedshift.statistics.layout import image_means, sums_and_counts
from embedshift.statistics.paired import paired_gains
from embedshift.statistics.sample import Estimates, estimates_from_values, gather
from embedshift.statistics.summary import DIFFERENCES_SCHEMA
from embedshift.statistics.thresholds import ScoredPairs, allowed_pairs, least_false_match_rate

RECALLS = {f"recall@{k}": k for k in (1, 5, 10)}
MRR, OVERLAP, AUC = "mrr", "knn_overlap@10", "auc"
# Of the table `search`; n counts views.
OF_VIEWS = pl.Schema({"n": int, "value": float, "ci_low": float, "ci_high": float})
SCHEMA = pl.Schema({"augmentation": pl.String(), "metric": pl.String(), **OF_VIEWS})
# Metric → value with the ends of its interval, and how many views it is of.
Numbers = dict[str, tuple[float, ...]]


def least_found_first(search: pl.DataFrame) -> list[str]:
    """Returns the augmentations of the table `search` by their recall@1, the lowest first; those without it last."""
    first = search.filter(metric=next(iter(RECALLS)))
    return first.sort("value", maintain_order=True, nulls_last=True)["augmentation"].to_list()


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
MATCHES = pl.Schema({"augmentation": pl.String(), "false_match_rate": pl.Float64(), **OF_VIEWS})
ROC = pl.Schema({"augmentation": str, "false_match_rate": float, "tpr": float})


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


def roc(cosines: Mapping[str, Values], pairs: ScoredPairs) -> pl.DataFrame:
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


def auc(cosines: Mapping[str, Values], pairs: ScoredPairs) -> pl.DataFrame:
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


def auc_values(cosines: Values, pairs: ScoredPairs) -> Estimates:
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
