"""The table `whitening`: what a search finds before and after maps, view by view, of images and changes not fitted."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from embedshift.arrays import Floats, GroupNumbers, Values
from embedshift.augmentations import ORIGINAL
from embedshift.config import Json
from embedshift.questions.whitening import Choices
from embedshift.report.next_steps import MAP, Step
from embedshift.statistics.agreement import neighbours_of
from embedshift.statistics.judged import Fold, Judged, Outcomes, Split, judge, means_of, with_pseudovalues
from embedshift.statistics.sample import OF_A_SET, group_numbers
from embedshift.statistics.strengths import MISSED
from embedshift.statistics.thresholds import threshold_at
from embedshift.statistics.vectors import normalised
from embedshift.statistics.whitening import MOST_DIM, ShiftMoments, Whitening, moments_of
from embedshift.store.embeddings import images_tried
from embedshift.store.reader import Reader
from embedshift.store.table import Table, rules_of_gains, table_path

AS_IS, CENTRED, ORIGINALS, SHIFTS = "as it is", "centred", "originals", "shifts"
# False-match rates, and the least number of false pairs for which one is defined.
RATES, LEAST_PAIRS = (0.01, 0.001), 10
RECALL, MRR, CLASS, KEPT, FITTED = "recall@1", "mrr", "class_agreement", "neighbours@10", "fitted_neighbours@10"
# Metric → numbers per image and draw, NaN without a vector, and their pseudovalues: `[2, n, draws]`; the largest hub.
Found = tuple[dict[str, Values], float]


@dataclass(frozen=True, eq=False)
class FoldImages:
    """Embeddings of images `[n, D]`, of views by augmentation `[n, draws, D]`, and what belongs together."""

    originals: Floats
    views: Mapping[str, Floats]
    # Augmentation → the family that is left out with it.
    families: Mapping[str, str]
    grouped: GroupNumbers | None = None

    @functools.cached_property
    def groups(self) -> NDArray[np.intp]:
        return group_numbers(self.grouped, len(self.originals))

    @functools.cached_property
    def split(self) -> Split:
        return Split.of(self.groups, self.families)

    def searched(self, metric: str) -> int:
        """Returns among how many images a view is searched, in the mean: its own, and those of other groups."""
        folds = np.zeros_like(self.groups[:OF_A_SET]) if metric == FITTED else self.split.folds
        groups = self.groups[: len(folds)]
        return round(float((1 + np.bincount(folds)[folds] - np.bincount(groups)[groups]).mean()))


def fits(images: FoldImages) -> Iterator[tuple[str, list[str], list[Whitening | None]]]:
    """Yields, the simplest map first, its name, augmentations to try it on, and fits without each fold and to all."""
    folds = images.split.judged()

    def moments(names: Sequence[str]) -> list[ShiftMoments]:
        shifted = [[draw for name in names for draw in images.views[name][fold].swapaxes(0, 1)] for fold in folds]
        parts = [moments_of(images.originals[fold], views) for fold, views in zip(folds, shifted, strict=True)]
        total = functools.reduce(ShiftMoments.__add__, parts)
        return [*(total - part for part in parts), total]

    names = list(images.views)
    parts = moments(names)
    yield AS_IS, names, [None for _ in parts]
    yield CENTRED, names, [part.centred() for part in parts]
    yield ORIGINALS, names, [part.by_originals() for part in parts]
    for members, others in images.split.changes():
        yield SHIFTS, list(members), [part.by_shifts() for part in moments(others)]


def results(images: FoldImages) -> Iterator[tuple[str, str, Found]]:
    folds = [np.flatnonzero(fold) for fold in images.split.judged()]
    everything = [np.arange(len(images.originals))[:OF_A_SET]]
    for name, members, (*maps, fitted) in fits(images):
        among_fitted = dict(_tried(images, everything, [fitted], members))
        for view, (numbers, hub) in _tried(images, folds, maps, members):
            yield name, view, (numbers | {FITTED: among_fitted[view][0][KEPT]}, hub)


def _tried(
    images: FoldImages, folds: Sequence[NDArray[np.intp]], maps: Sequence[Whitening | None], names: Sequence[str]
) -> Iterator[tuple[str, Found]]:
    shape = images.views[names[0]].shape[:2]
    metrics = [RECALL, MRR, KEPT, "cosine", *([] if images.grouped is None else [CLASS])]
    values, lost = ({name: np.full((len(metrics), *shape), np.nan) for name in names} for _ in range(2))
    hubs, pairs = dict.fromkeys(names, 0.0), list[Values]()
    neighbours = min(neighbours_of(images.groups[inside]) for inside in folds)
    for inside, whitening in zip(folds, maps, strict=True):
        gallery = _Gallery(_mapped(whitening, images.originals[inside]), images.groups[inside], neighbours)
        pairs.append(gallery.pairs)
        for name in names:
            firsts = np.zeros(len(inside))
            for draw in range(shape[1]):
                found, first = gallery.find(_mapped(whitening, images.views[name][inside, draw]))
                for place, metric in enumerate(metrics):
                    values[name][place, inside, draw], lost[name][place, inside, draw] = found[metric]
                firsts += np.bincount(first, minlength=len(inside))
            hubs[name] = max(hubs[name], float(firsts.max() / max(1.0, firsts.sum())))
    thresholds = _thresholds(np.concatenate(pairs))
    for name in names:
        numbers = dict(zip(metrics, map(with_pseudovalues, values[name], lost[name]), strict=True))
        cosine = numbers.pop("cosine")
        for rate, least in thresholds.items():
            numbers[f"matched@{rate:g}"] = np.where(np.isnan(cosine), np.nan, cosine >= least)
        yield name, (numbers, hubs[name])


def _mapped(whitening: Whitening | None, raw: Floats) -> Values:
    return np.nan_to_num(normalised(raw if whitening is None else whitening(raw)))


class _Gallery:
    """Originals of length 1 or 0, `[m, D]`; images of a query's own group are no results."""

    def __init__(self, vectors: Values, groups: NDArray[np.intp], neighbours: int) -> None:
        self.vectors, self.fold = vectors, Fold(groups, np.asarray(vectors.any(axis=1)), neighbours)
        cosines = vectors @ vectors.T
        self.near = self.fold.nearest(cosines)
        self.pairs = cosines[np.triu(~self.fold.none & self.fold.there[:, None])]

    def find(self, views: Values) -> tuple[dict[str, tuple[Values, Values]], NDArray[np.intp]]:
        """Returns metric → the number of each view, and what all others lose to its image; and who comes first."""
        fold, cosines = self.fold, views @ self.vectors.T
        lost = ~(fold.there & views.any(axis=1))
        own = np.where(lost, np.nan, np.diagonal(cosines))
        mates = np.where(fold.mates & fold.there, cosines, -np.inf).max(axis=1)
        kept = fold.kept(self.near, cosines)
        recall = fold.of_ranks(cosines, own, lambda rank: rank == 1)
        found = {
            RECALL: recall,
            MRR: fold.of_ranks(cosines, own, lambda rank: 1 / rank),
            CLASS: fold.of_ranks(cosines, np.where(lost | np.isneginf(mates), np.nan, mates), lambda rank: rank == 1),
            KEPT: (np.where(lost, np.nan, kept), 0.0 * kept),
            "cosine": (own, 0.0 * kept),
        }
        first = np.where(fold.none, -np.inf, cosines).argmax(axis=1)
        return found, np.where(recall[0] == 1, np.arange(len(own)), first)[~lost]


def _thresholds(cosines: Values) -> dict[float, float]:
    thresholds = {rate: threshold_at(cosines, rate, LEAST_PAIRS) for rate in RATES}
    return {rate: least for rate, least in thresholds.items() if not np.isnan(least)}


ALL, HUB = "all", "hub"
SCHEMA = pl.Schema(
    {"map": str, "augmentation": str, "metric": str, "gallery": int}
    | dict.fromkeys(("before", "after", "difference", "ci_low", "ci_high"), float)
    | {"recommended": bool}
)
# Metric → numbers and pseudovalues, `[2, n, draws, A]`.
Numbers = dict[str, Values]
# Augmentation, metric, before, after, difference and the ends of its interval.
Row = tuple[str, str, float, float, float, float, float]
# Images, or groups, from which on trying a map is proposed.
LEAST_TRIED = 20
# Metrics that are proportions of views.
PROPORTIONS = ("recall", "matched", CLASS)


def images_of(reader: Reader) -> FoldImages:
    order, count = reader.image_rows.layout, images_tried(reader)
    vectors = np.nan_to_num(np.concatenate([*reader.image_rows.head(count).vectors()]))
    return FoldImages(
        vectors[:, order.views.index(ORIGINAL)],
        {name: vectors[:, order.positions(name)] for name in reader.augmentations},
        reader.family_of,
        reader.first_groups(count),
    )


def table_of(images: FoldImages, seed: int) -> pl.DataFrame:
    names, groups = list(images.views), images.grouped
    if not images.split.is_possible:
        return pl.DataFrame(schema=SCHEMA)
    parts: dict[str, dict[str, Found]] = {}
    for name, augmentation, found in results(images):
        parts.setdefault(name, {})[augmentation] = found
    by_map: dict[str, Numbers] = {}
    for name, by_view in parts.items():
        columns = [by_view[each][0] for each in names]
        by_map[name] = {metric: np.stack([each[metric] for each in columns], axis=-1) for metric in columns[0]}
    hubs = {name: [by_view[each][1] for each in names] for name, by_view in parts.items()}
    chosen = recommended(by_map, groups, seed)
    rows: list[tuple[object, ...]] = []
    for name in [*by_map][1:]:
        part = [*_rows(by_map[AS_IS], by_map[name], names, groups, seed), *_hubs(hubs[AS_IS], hubs[name], names)]
        for augmentation, metric, *numbers in sorted(part, key=lambda row: [*names, ALL].index(row[0])):
            rows.append((name, augmentation, metric, images.searched(metric), *numbers, name == chosen))
    return pl.DataFrame(rows, SCHEMA, orient="row").fill_nan(None)


def recommended(by_map: Mapping[str, Numbers], groups: GroupNumbers | None, seed: int) -> str:
    """Returns the simplest map whose recall is above that as it is, and not below the best, by paired intervals."""
    means = {name: means_of(numbers[RECALL][0], groups).mean[-1] for name, numbers in by_map.items()}
    best = max(means, key=lambda name: means[name])

    def is_worse(name: str, other: str) -> bool:
        return bool(judged(by_map[other], by_map[name], RECALL, groups, seed).interval()[1][-1] < 0)

    for name in by_map:
        if name == best or (not is_worse(name, best) and (name == AS_IS or is_worse(AS_IS, name))):
            return name
    return best


def judged(before: Numbers, after: Numbers, metric: str, groups: GroupNumbers | None, seed: int) -> Judged:
    numbers = [(*each[metric],) for each in (before, after)]
    old, new = (Outcomes(values, own, metric.startswith(PROPORTIONS)) for values, own in numbers)
    return judge(old, new, groups, seed=seed)


def _rows(
    before: Numbers, after: Numbers, names: Sequence[str], groups: GroupNumbers | None, seed: int
) -> Iterator[Row]:
    for metric in before:
        found = judged(before, after, metric, groups, seed)
        columns = found.baseline, found.value, found.difference, *found.interval()
        for name, *row in zip([*names, ALL], *columns, strict=True):
            yield (name, metric, *map(float, row))


def _hubs(before: Sequence[float], after: Sequence[float], names: Sequence[str]) -> Iterator[Row]:
    """Yields rows without an interval: the largest of many numbers has none over images."""
    numbers = [(float(np.mean(side)), *side) for side in (before, after)]
    for name, old, new in zip([ALL, *names], *numbers, strict=True):
        yield name, HUB, old, new, new - old, np.nan, np.nan


def _is_available(reader: Reader) -> bool:
    is_asked = reader.choice(Choices).measured or table_path(reader.folder, "whitening").is_file()
    is_fitted = reader.info.has_vectors and reader.info.encoder.dim <= MOST_DIM
    return is_asked and is_fitted and bool(reader.augmentations)


def fit_a_map(reader: Reader) -> Step | None:
    """Returns the command that fits a map that helps, or that tries where a search loses more than a few images."""
    if not reader.info.has_vectors or not reader.augmentations or reader.whitening is not None:
        return None
    table, search = reader.table("whitening"), reader.table("search")
    if table is not None:
        best = table.filter(augmentation=ALL, metric=RECALL, recommended=True).head(1).to_dicts()
        return Step(in_words(best[0]), MAP) if best and best[0]["difference"] > 0 else None
    highest = (
        []
        if search is None or reader.info.group_count < LEAST_TRIED
        else search.filter(metric=RECALL)["ci_high"].drop_nulls().to_list()
    )
    return Step("a linear map may find more", MAP) if min(highest, default=1.0) < 1 - MISSED else None


def in_words(row: Json) -> str:
    before, after = (f"{100 * row[name]:.1f} %" for name in ("before", "after"))
    return f"a linear map finds {after} in place of {before}, among {row['gallery']:,} images it was not fitted to"


STEPS = (fit_a_map,)
TABLES = (
    Table(
        "whitening",
        lambda reader: table_of(images_of(reader), reader.info.seed),
        is_available=_is_available,
        requires="stored embeddings and views: run it with `store` all",
        settings=lambda reader: {"version": "3", "groups": reader.info.groups_digest},
        doc="What a search finds before and after each map, among images that it was not fitted to, for other changes.",
        choices=Choices(measured=True),
        rules=rules_of_gains("map", "augmentation", "metric"),
    ),
)
