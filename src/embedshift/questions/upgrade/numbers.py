"""New queries over an old index: what they find through a map, half migrated, and at which threshold; held out.

Every number is of images and changes that no map was fitted to, in a search among the images of their own fold.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from embedshift.arrays import Floats, Values
from embedshift.augmentations import ORIGINAL
from embedshift.questions.upgrade.maps import IDENTITY, Both, Fits, MapKind, fit
from embedshift.statistics.agreement import NEIGHBOURS_KEPT, neighbours_of
from embedshift.statistics.intervals import CONFIDENCE, LEAST_IMAGES
from embedshift.statistics.judged import NUMBERS, Fold, Judged, Outcomes, judge, with_pseudovalues
from embedshift.statistics.linear_map import LinearMap
from embedshift.statistics.retrieval import Gallery, count_closer
from embedshift.statistics.sample import RESAMPLES, weights
from embedshift.statistics.thresholds import MATCHED, RATE, threshold_at
from embedshift.statistics.vectors import normalised

OLD, NEW, BRIDGE, FRACTIONS = "old", "new", "bridge", (0.1, 0.5, 0.9)
MIXED = {f"mixed@{fraction:g}": fraction for fraction in FRACTIONS}
DEPLOYMENTS = (OLD, NEW, BRIDGE, *MIXED)
RECALLS = {"recall@1": 1, "recall@10": 10}
FALSE, CARRIED = "false_matches", "false_matches@carried"
PROPORTIONS = (*RECALLS, MATCHED)
ALL, ORIGINALS, COPIES = "all", "originals", "near-copies"
SCHEMA = pl.Schema(
    {"deployment": str, "map": str, "augmentation": str, "metric": str, "n": int} | dict.fromkeys(NUMBERS, float)
)
THRESHOLDS = pl.Schema(
    {"queries": str, "deployment": str}
    | {"false_match_rate": float, "old": float, "carried": float, "ci_low": float, "ci_high": float}
)
Row = tuple[object, ...]
# Ordered pairs of different images that must match for a threshold: both orders of ten.
LEAST_PAIRS = 20
CURVE = (4, 2, 1)


@dataclass(frozen=True, eq=False)
class Scores:
    """Cosines of new and old queries with the originals of their fold, `[m, V, m]` for each fold and deployment.

    Args:
        of: Deployment → scores by fold; of `old`, `new` and `bridge`.
        there: Whether there is a query, bool `[m, V]` by fold.
        apart: Whether query and original are of different groups, bool `[m, m]` by fold.
        order: A random order of the originals of each fold, in which they are migrated.
        more: How many vectors of the gallery reach the score of each query's own image, `[m, V]` by deployment and
            fold; a deployment without a gallery of its encoder is left out.
        gallery: Number of vectors of the gallery.
    """

    of: Mapping[str, Sequence[Values]]
    there: Sequence[NDArray[np.bool_]]
    apart: Sequence[NDArray[np.bool_]]
    order: Sequence[NDArray[np.intp]]
    more: Mapping[str, Sequence[Values]]
    gallery: int = 0

    def reached(self, deployment: str, fold: int) -> Values:
        """Returns `more` of a fold, `[m, V]`; 0 without a gallery, NaN where it has no vectors of the encoder."""
        none = np.full(self.there[fold].shape, np.nan if self.gallery else 0.0)
        return self.more[deployment][fold] if deployment in self.more else none

    def pairs(self, deployment: str, fold: int, kind: str) -> Values:
        """Returns the scores of different images, of originals or of their changed views."""
        chosen = slice(1) if kind == ORIGINALS else slice(1, None)
        used = self.there[fold][:, chosen, None] & self.apart[fold][:, None]
        return np.asarray(self.in_fold(deployment, fold)[:, chosen][used])

    def pooled(self, deployment: str, kind: str, without: int | None = None) -> Values:
        return np.concatenate(
            [self.pairs(deployment, fold, kind) for fold in range(len(self.there)) if fold != without]
        )

    @functools.cached_property
    def calibrations(self) -> list[dict[str, tuple[float, float]]]:
        """Mean and standard deviation of scores of different originals: without each fold, then over all folds."""
        return [
            {
                name: (float(part.mean()), float(part.std()))
                for name in (BRIDGE, NEW)
                for part in [self._others(name, out)]
            }
            for out in (*range(len(self.there)), None)
        ]

    def _others(self, deployment: str, without: int | None) -> Values:
        return self.pooled(deployment, ORIGINALS, without)

    def in_fold(self, deployment: str, fold: int) -> Values:
        """Returns scores, of a mixed index on the scale of new ones: as many standard deviations above the mean."""
        if deployment not in MIXED:
            return self.of[deployment][fold]
        scale = self.calibrations[fold]
        (middle, spread), (to, wide) = scale[BRIDGE], scale[NEW]
        is_new = self.order[fold] < round(MIXED[deployment] * len(self.order[fold]))
        through_map = (self.of[BRIDGE][fold] - middle) / (spread or 1.0) * wide + to
        return np.where(is_new, self.of[NEW][fold], through_map)


def scores_of(both: Both, mapped: Sequence[Floats], seed: int) -> Scores:
    more: dict[str, list[Values]] = {OLD: [], BRIDGE: []} if len(both.gallery) else {}
    gallery = Gallery.of(both.gallery)
    found: dict[str, list[Values]] = {OLD: [], NEW: [], BRIDGE: []}
    there, apart, order = [], [], []
    rng = np.random.default_rng(seed)
    for images, through_map in zip(both.judged, mapped, strict=True):
        sides = {OLD: (both.old[images],) * 2, NEW: (both.new[images],) * 2, BRIDGE: (through_map, both.old[images])}
        for name, (queries, index) in sides.items():
            flat = np.nan_to_num(normalised(queries)).reshape(-1, index.shape[2])
            # Less than 1e-6 is rounding of float32.
            scores = np.round(flat @ np.nan_to_num(normalised(index[:, 0])).T, 6)
            found[name].append(scores.reshape(len(images), -1, len(images)))
            if name in more:
                own = np.einsum("mvm->mv", found[name][-1])
                reached = count_closer(flat, own.ravel(), gallery, np.full(own.size, -1))
                more[name].append(reached.astype(np.float64).reshape(own.shape))
        there.append(both.there[images])
        apart.append(both.groups[images][:, None] != both.groups[images])
        order.append(rng.permutation(len(images)))
    return Scores(found, there, apart, order, more, len(gallery))


@dataclass(frozen=True)
class Cut:
    """Which threshold is carried: a cosine of the old index, or that of a rate of false matches."""

    threshold: float | None = None
    rate: float = RATE

    def old(self, scores: Scores) -> float:
        given = self.threshold
        return threshold_at(scores.pooled(OLD, ORIGINALS), self.rate, LEAST_PAIRS) if given is None else given

    def carried(self, scores: Scores, deployment: str, kind: str, without: int | None = None) -> tuple[float, float]:
        """Returns the rate of false matches at the old threshold, and the threshold of a deployment at that rate.

        Where the old one lies between two cosines, the carried one lies between those of the same ranks.
        """
        rate, below = self.place(scores, kind, without)
        if np.isnan(below):
            return rate, np.nan
        found = scores.pooled(deployment, kind, without)
        least = threshold_at(found, rate, 1)
        return rate, least - below * (least - found[found < least].max(initial=-1.0))

    def place(self, scores: Scores, kind: str, without: int | None = None) -> tuple[float, float]:
        """Returns the rate of false matches at the old threshold, and how far below the least match it lies.

        0 = at that cosine, 1 = at the next lower one; NaN where too few pairs match, or all.
        """
        old, pairs = self.old(scores), scores.pooled(OLD, kind, without)
        is_match = pairs >= old
        rate = float(is_match.mean()) if len(pairs) and not np.isnan(old) else np.nan
        if is_match.sum() < (LEAST_PAIRS if without is None else 1) or is_match.all():
            return rate, np.nan
        match, other = pairs[is_match].min(), pairs[~is_match].max()
        return rate, float((match - old) / (match - other))


# By fold: the thresholds of originals and of changed views.
Limits = Sequence[tuple[float, float]]


def limits(scores: Scores, cut: Cut) -> dict[str, Limits]:
    """Returns deployment → the threshold of each fold, carried by all others; a mixed index has the new one."""
    folds, old = range(len(scores.there)), cut.old(scores)

    def of(name: str, kind: str) -> list[float]:
        is_carried = not np.isnan(cut.carried(scores, name, kind)[1])
        return [cut.carried(scores, name, kind, fold)[1] if is_carried else np.nan for fold in folds]

    carried: dict[str, Limits] = {
        name: [*zip(of(name, ORIGINALS), of(name, COPIES), strict=True)] for name in (NEW, BRIDGE)
    }
    return carried | {OLD: [(old, old) for _ in folds]} | dict.fromkeys(MIXED, carried[NEW])


def recalls(both: Both, scores: Scores, deployment: str, ranks: Mapping[str, int]) -> dict[str, Values]:
    """Returns metric → whether each judged view is found, and what all others lose to its image, `[2, J, V]`."""
    parts: dict[str, list[Values]] = {name: [] for name in ranks}
    for number, images in enumerate(both.judged):
        fold = Fold(both.groups[images], both.there[images, 0], 1)
        own, more = scores.in_fold(deployment, number), scores.reached(deployment, number)
        there = scores.there[number] & ~np.isnan(more)
        for name, most in ranks.items():
            is_found = functools.partial(np.greater_equal, most)
            views = [
                fold.of_ranks(
                    own[:, view], np.where(there[:, view], own[:, view].diagonal(), np.nan), is_found, more[:, view]
                )
                for view in range(there.shape[1])
            ]
            parts[name].append(np.stack([np.stack(pair) for pair in views], axis=-1))
    return {name: np.concatenate(part, axis=1) for name, part in parts.items()}


def others(both: Both, scores: Scores, deployment: str, old: float, carried: Limits) -> dict[str, Values]:
    """Returns the numbers of the metrics that need no rank, as `recalls` does."""
    matched = threshold_at(scores.pooled(deployment, ORIGINALS), RATE, LEAST_PAIRS)
    parts: dict[str, list[Values]] = {name: [] for name in (MATCHED, NEIGHBOURS_KEPT, FALSE, CARRIED)}
    count = neighbours(both)
    for number, images in enumerate(both.judged):
        fold = Fold(both.groups[images], both.there[images, 0], count)
        own, before, there = scores.in_fold(deployment, number), scores.of[OLD][number], scores.there[number]
        found: dict[str, list[Values]] = {name: [] for name in parts}
        for view in range(there.shape[1]):
            now, nothing = own[:, view], np.where(there[:, view], 0.0, np.nan)
            cosine = now.diagonal() + nothing
            kept = fold.kept(fold.nearest(before[:, view]), now) + nothing
            found[NEIGHBOURS_KEPT].append(np.stack([kept, 0.0 * np.nan_to_num(kept)]))
            is_matched = np.where(np.isnan(cosine + matched), np.nan, cosine >= matched)
            found[MATCHED].append(np.stack([is_matched, 0.0 * np.nan_to_num(kept)]))
            for name, least in ((FALSE, old), (CARRIED, carried[number][view > 0])):
                found[name].append(_false_matches(now, scores.apart[number], there[:, view], least))
        for name, views in found.items():
            parts[name].append(np.stack(views, axis=-1))
    return {name: np.concatenate(part, axis=1) for name, part in parts.items()}


def neighbours(both: Both) -> int:
    return min(neighbours_of(np.unique(both.groups[images], return_inverse=True)[1]) for images in both.judged)


def _false_matches(scores: Values, apart: NDArray[np.bool_], there: NDArray[np.bool_], least: float) -> Values:
    """Returns the part of others that match a query; and, less than 0, the part of queries that match its image."""
    asked = apart & there[:, None]
    match = asked & (scores >= least)
    rates, met = (match.sum(axis=axis) / np.maximum(1, asked.sum(axis=axis)) for axis in (1, 0))
    return np.stack([np.where(there & ~np.isnan(least), rates, np.nan), -met])


class Judging:
    """Deployments beside the old one, on the same views; `numbers` are of deployment and metric, `[2, J, V]`."""

    def __init__(self, both: Both, seed: int) -> None:
        self.both, self.seed = both, seed
        self.groups = both.groups[np.concatenate(both.judged)] if both.is_grouped else None
        self.augmentations = list(dict.fromkeys(both.names))

    def outcomes(self, numbers: Values, metric: str, *, originals: bool = False) -> Outcomes:
        values, lost = numbers[..., :1] if originals else numbers[..., 1:]
        shape = (len(values), -1, 1 if originals else len(self.augmentations))
        parts = (part.reshape(shape) for part in (values, lost))
        pairs = [with_pseudovalues(*part) for part in zip(*(np.moveaxis(part, 2, 0) for part in parts), strict=True)]
        own, pseudovalues = np.moveaxis(np.stack(pairs), 0, -1)
        return Outcomes(own, pseudovalues, is_proportion=metric in PROPORTIONS)

    def judged(self, before: Values, after: Values, metric: str, *, originals: bool = False) -> Judged:
        first, second = (self.outcomes(side, metric, originals=originals) for side in (before, after))
        return judge(first, second, self.groups, seed=self.seed)

    def rows(self, deployment: str, name: str | None, before: Values, after: Values, metric: str) -> Iterator[Row]:
        kinds = [(False, [*self.augmentations, ALL])]
        for originals, names in [(True, [ORIGINAL]), *kinds] if metric in (FALSE, CARRIED) else kinds:
            found = self.judged(before, after, metric, originals=originals)
            none = np.zeros(len(found.n))
            ends = (none, none, none) if deployment == OLD else (found.difference, *found.interval())
            columns = (found.n, found.value, *found.own_interval(), *ends)
            for augmentation, n, *numbers in zip(names, *columns, strict=False):
                yield (
                    deployment,
                    name,
                    augmentation,
                    metric,
                    int(n),
                    *(float(each) if n else np.nan for each in numbers),
                )


def thresholds(both: Both, scores: Scores, cut: Cut, seed: int) -> pl.DataFrame:
    """Returns the old threshold in the new space and through the map, at its rate of false matches, with intervals."""
    rows = []
    for kind in (ORIGINALS, COPIES):
        for name in (NEW, BRIDGE):
            rate, found = cut.carried(scores, name, kind)
            ends = (np.nan, np.nan)
            if not np.isnan(found) and len(np.unique(both.groups)) >= LEAST_IMAGES:
                drawn = np.concatenate([*_resampled(both, scores, cut, name, kind, rate, seed)])
                ends = np.quantile(drawn, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2), method="nearest")
            rows.append((kind, name, rate, cut.old(scores), found, *map(float, ends)))
    return pl.DataFrame(rows, THRESHOLDS, orient="row").fill_nan(None)


def _resampled(
    both: Both, scores: Scores, cut: Cut, deployment: str, kind: str, rate: float, seed: int
) -> Iterator[Values]:
    """Yields carried thresholds of resamples of images, or groups, between two cosines as the old threshold lies."""
    # A pair counts by the product of its weights.
    below = cut.place(scores, kind)[1]
    old, groups = cut.old(scores), [both.groups[images] for images in both.judged]
    chosen = slice(1) if kind == ORIGINALS else slice(1, None)
    asked = [there[:, chosen, None] & apart[:, None] for there, apart in zip(scores.there, scores.apart, strict=True)]
    matching = [part & (scores.of[OLD][fold][:, chosen] >= old) for fold, part in enumerate(asked)]
    places = [np.nonzero(part) for part in asked]
    values = np.concatenate([scores.of[deployment][fold][:, chosen][place] for fold, place in enumerate(places)])
    most = min(len(values), int(4 * rate * len(values)) + 200)
    top = np.argpartition(-values, most - 1)[:most]
    top = top[np.argsort(-values[top])]
    ranked = values[top]
    last = np.searchsorted(-ranked, -ranked, side="right") - 1  # of those that are equal
    first, second = (
        np.concatenate([own[place[axis]] for own, place in zip(groups, places, strict=True)])[top] for axis in (0, 2)
    )
    for drawn in weights(int(both.groups.max()) + 1, seed=seed, resamples=RESAMPLES):
        counts = [
            sum(
                ((drawn[:, own] @ part.sum(axis=1)) * drawn[:, own]).sum(axis=1)
                for own, part in zip(groups, each, strict=True)
            )
            for each in (asked, matching)
        ]
        share = counts[1] if cut.threshold is not None or kind == COPIES else rate * counts[0]
        for start in range(0, len(drawn), step := max(1, 2**22 // most)):
            part, allowed = drawn[start : start + step], share[start : start + step]
            times = part[:, first] * part[:, second]
            reached = np.cumsum(times, axis=1)[:, last]
            fits = (reached <= allowed[:, None] * (1 + 1e-12)) & (times > 0)
            least = np.where(fits.any(axis=1), most - 1 - fits[:, ::-1].argmax(axis=1), 0)
            lower = (times > 0) & (np.arange(most) > last[least][:, None])
            gap = np.where(lower.any(axis=1), ranked[least] - ranked[lower.argmax(axis=1)], 0.0)
            yield ranked[least] - below * gap


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What an upgrade is judged by.

    Args:
        table: The table `upgrade`.
        thresholds: The old threshold in other spaces.
        calibration: Mean and standard deviation of cosines of different originals, of `bridge` and `new`.
        curve: Images that a map is fitted to → recall@1 through the best fitted one, beside that of fewer.
        recall: recall@1 through the chosen map beside that of old queries.
        kind: The map that is fitted to all.
        vectors: Number of vectors that it is fitted to.
        alike: How many times as many neighbours both encoders share as by chance.
    """

    table: pl.DataFrame
    thresholds: pl.DataFrame
    calibration: Mapping[str, tuple[float, float]]
    curve: Mapping[int, Judged]
    recall: Judged
    kind: MapKind
    vectors: int
    alike: float


def evaluate(both: Both, cut: Cut, margin: float, seed: int) -> tuple[LinearMap, Evaluated]:
    """Judges every deployment beside the old one, and the best fitted map by its learning curve.

    Args:
        both: The vectors.
        cut: The threshold that is carried.
        margin: How much of recall@1 may be lost; no map is chosen where it loses at most half of that.
        seed: Decides which images of a mixed index are migrated, and resamples.

    Returns:
        The chosen map, fitted to all images, and what it was judged by.
    """
    fits, folds, judging = Fits(both, np.ones(len(both.groups), bool)), [*range(len(both.judged))], Judging(both, seed)
    rest = [[fold for fold in folds if fold != out] for out in folds]
    final, _ = fits.choose(folds, margin)
    # No map at all is fitted to nothing: what is then found is that of all images as they are.
    as_is = final.name == IDENTITY
    scores = scores_of(both, fits.mapped([final if as_is else fits.choose(each, margin)[0] for each in rest]), seed)
    old, carried, numbers = cut.old(scores), limits(scores, cut), dict[str, dict[str, Values]]()
    for name in DEPLOYMENTS:
        numbers[name] = recalls(both, scores, name, RECALLS) | others(both, scores, name, old, carried[name])
    rows = [
        row
        for name in DEPLOYMENTS
        for metric, after in numbers[name].items()
        for row in judging.rows(
            name, final.name if name not in (OLD, NEW) else None, numbers[OLD][metric], after, metric
        )
    ]
    chance = neighbours(both) * len(folds) / max(1, sum(map(len, both.judged)) - len(folds))
    moments = fits.without([], range(len(fits.halves)), views=final.uses_views)
    return fit(final, moments, both), Evaluated(
        table=pl.DataFrame(rows, SCHEMA, orient="row").fill_nan(None),
        thresholds=thresholds(both, scores, cut, seed),
        calibration=scores.calibrations[-1],
        curve=_curve(fits, judging, margin),
        recall=judging.judged(numbers[OLD]["recall@1"], numbers[BRIDGE]["recall@1"], "recall@1"),
        kind=final,
        vectors=int(moments.count),
        alike=float(np.nanmean(numbers[NEW][NEIGHBOURS_KEPT][0][:, 0]) / chance),
    )


def _curve(fits: Fits, judging: Judging, margin: float) -> dict[int, Judged]:
    """Returns the learning curve: recall@1 with the best map fitted to a quarter, half and all of the images."""
    both, folds, found = judging.both, [*range(len(judging.both.judged))], dict[int, Values]()
    position = both.groups // len(folds)
    for part in CURVE:
        smaller = fits if part == 1 else Fits(both, position % part == 0)
        kind = smaller.choose(folds, margin)[1]
        count = sum(moments.count for moments in smaller.originals) * (len(folds) - 1) / len(folds)
        scores = scores_of(both, smaller.mapped([kind] * len(folds)), judging.seed)
        found[round(count)] = recalls(both, scores, BRIDGE, {"recall@1": 1})["recall@1"]
    own = [*found.values()]
    triples = zip(found, [own[0], *own], own, strict=False)
    return {count: judging.judged(before, after, "recall@1") for count, before, after in triples}
