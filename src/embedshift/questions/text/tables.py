"""The tables of a study with texts: words of shifts, classes of views, and search by captions."""

import functools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import Floats, GroupNumbers, Values
from embedshift.augmentations import ORIGINAL
from embedshift.statistics.intervals import bounded_interval, mean_interval, proportion_interval, simultaneous_intervals
from embedshift.statistics.layout import ImageRows, list_parts, side_by_side, sums_and_counts
from embedshift.statistics.retrieval import Gallery, count_closer
from embedshift.statistics.sample import Estimates, estimates_from_values, gather
from embedshift.statistics.vectors import cosine, normalised
from embedshift.store.reader import Reader
from embedshift.store.table import Table

# Captions that search: the first in the study's order, which its seed drew.
QUERIES = 2_000
RECALLS, MRR = (1, 5, 10), "mrr"
SCHEMA = pl.Schema(
    {"augmentation": str, "metric": str, "n": int}
    | dict.fromkeys(("before", "before_low", "before_high", "value", "ci_low", "ci_high"), float)
    | {"difference": float, "low": float, "high": float}
)


def caption_ranks(
    captions: ArrayLike,
    positions: ArrayLike,
    cosines: ArrayLike,
    gallery: Iterable[Floats],
    groups: GroupNumbers | None = None,
) -> Values:
    """Returns the rank of each caption's own image in V galleries: 1 + images of other groups that are as close."""
    texts, image_positions = np.nan_to_num(normalised(captions)), np.asarray(positions)
    own_cosines = np.asarray(cosines, np.float64)
    limits, closer, start = np.nan_to_num(own_cosines), np.zeros(own_cosines.shape), 0
    own = None if groups is None else groups[image_positions]
    for block in gallery:
        for view in range(own_cosines.shape[1]):
            images = Gallery.of(block[:, view], None if groups is None else groups[start : start + len(block)])
            closer[:, view] += count_closer(texts, limits[:, view], images, image_positions - start, own)
        start += len(block)
    return np.where(np.isnan(own_cosines), np.nan, 1.0 + closer)


def text_search(study: ImageRows, augmentations: Sequence[str], *, seed: int) -> pl.DataFrame:
    order, queries = study.layout, _queries(study)
    if not queries:
        return pl.DataFrame(schema=SCHEMA)
    texts, positions, cosines = (np.concatenate(parts) for parts in zip(*queries, strict=True))
    ranks = caption_ranks(texts, positions, cosines, study.vectors(), study.groups)
    ks = [k for k in RECALLS if k < order.images]
    metrics = [*(f"recall@{k}" for k in ks), MRR]
    views = np.array([order.positions(name) for name in augmentations]).T  # [draws, A]
    groups = None if study.groups is None else study.groups[positions]
    numbers = _numbers(_scores(ranks[:, :1, None], ks), _scores(ranks[:, views], ks), seed=seed, groups=groups)
    keys = [(name, metric) for name in augmentations for metric in metrics]
    table_rows = [(*key, *row) for key, row in zip(keys, zip(*numbers, strict=True), strict=True)]
    return pl.DataFrame(table_rows, schema=SCHEMA, orient="row", strict=False).fill_nan(None)


def _queries(study: ImageRows) -> list[tuple[Values, NDArray[np.intp], Values]]:
    """Returns, by block, vectors of captions, positions of their images, and cosines with their views `[q, V]`."""
    queries: list[tuple[Values, NDArray[np.intp], Values]] = []
    count, start, order = 0, 0, study.layout
    if not order.images:
        return queries
    for block in study.blocks("caption_vector", "embedding"):
        captions = block["caption_vector"].gather_every(len(order.views))
        captioned = np.flatnonzero(captions.is_not_null().to_numpy())[: QUERIES - count]
        if len(captioned):
            texts = captions.gather(captioned).explode().to_numpy().astype(np.float64).reshape(len(captioned), -1)
            queries.append((texts, start + captioned, cosine(texts[:, None], order.vectors(block)[captioned])))
        count, start = count + len(captioned), start + len(captions)
        if count == QUERIES:
            break
    return queries


def _scores(ranks: Values, recalls: Sequence[int]) -> Values:
    recalled = [np.where(np.isnan(ranks), np.nan, ranks <= k) for k in recalls]
    return np.stack([*recalled, 1 / ranks], axis=-1)


def _numbers(before: Values, after: Values, *, seed: int, groups: GroupNumbers | None) -> list[Values]:
    count, draws, augmentations, metrics = after.shape
    both = ~(np.isnan(before) | np.isnan(after))
    sums, counts = sums_and_counts(np.where(both, after, np.nan).reshape(count, draws, -1))
    paired = np.where(both.any(axis=1), before[:, 0], np.nan).reshape(count, -1)
    sample = gather([(sums, counts)], groups=groups)
    is_fraction = np.tile(np.arange(metrics) < metrics - 1, augmentations)
    with np.errstate(invalid="ignore"):
        means = sums / counts
    columns = [sample.counts]
    for part, values in ((estimates_from_values(paired, groups), paired), (sample, means)):
        ends = zip(proportion_interval(part), bounded_interval(values, 0.0, 1.0, seed=seed, groups=groups), strict=True)
        columns += [part.mean, *(np.where(is_fraction, fraction, mean) for fraction, mean in ends)]
    return [
        *columns,
        estimates_from_values(means - paired).mean,
        *bounded_interval(means - paired, -1.0, 1.0, seed=seed, groups=groups),
    ]


PERMUTATIONS = 10_000
ALL = "all"

WORDS_SCHEMA = pl.Schema({"augmentation": str, "word": str, "n": int, "mean": float, "ci_low": float, "ci_high": float})
TEST_SCHEMA = pl.Schema(
    {"augmentation": str, "n": int, "rank": int}
    | dict.fromkeys(("own", "own_low", "own_high", "others", "difference", "low", "high"), float)
    | {"significant": bool, "p_value": float}
)
CLASS_NUMBERS = ("agreement", "ci_low", "ci_high", "margin_before", "margin", "margin_low", "margin_high")
CLASSES_SCHEMA = pl.Schema({"augmentation": str, "n": int} | dict.fromkeys(CLASS_NUMBERS, float))


def words(study: ImageRows, augmentations: Sequence[str], phrase_names: Sequence[str], *, seed: int) -> pl.DataFrame:
    if not study.layout.images:
        return pl.DataFrame(schema=WORDS_SCHEMA)
    sample = gather(list_parts(study, augmentations, ["word_cosines"]), together=False, groups=study.groups)
    low, high = mean_interval(sample, seed=seed, low=-1.0, high=1.0)
    names = [name for name in augmentations for _ in phrase_names]
    columns = (names, [*phrase_names] * len(augmentations), sample.counts.astype(np.int64), sample.mean, low, high)
    return pl.DataFrame(dict(zip(WORDS_SCHEMA, columns, strict=True)), schema=WORDS_SCHEMA).fill_nan(None)


def matrix(table: pl.DataFrame) -> tuple[list[str], list[str], Values]:
    names, phrase_names = (table[name].unique(maintain_order=True).to_list() for name in ("augmentation", "word"))
    values = table["mean"].fill_null(np.nan).to_numpy().astype(np.float64)
    return names, phrase_names, values.reshape(len(names), len(phrase_names))


def tested(table: pl.DataFrame) -> tuple[list[str], Values]:
    """Returns the K augmentations that have a word and moved, and their part of `words`, `[K, K]`."""
    names, phrase_names, values = matrix(table)
    kept = [name for name in names if name in phrase_names and not np.isnan(values[names.index(name)]).any()]
    return kept, values[np.ix_([names.index(name) for name in kept], [phrase_names.index(name) for name in kept])]


def own_and_leads(
    study: ImageRows, augmentations: Sequence[str], phrase_names: Sequence[str], kept: Sequence[str]
) -> Estimates | None:
    if len(kept) < 2:
        return None
    augmentation, phrase = ([names.index(name) for name in kept] for names in (augmentations, phrase_names))
    # The lead of each augmentation's own word over the mean of the others.
    lead = (len(kept) * np.eye(len(kept)) - 1) / (len(kept) - 1)

    def square(cells: Values) -> Values:
        return cells.reshape(-1, len(augmentations), len(phrase_names))[:, augmentation][:, :, phrase]

    def parts() -> Iterator[tuple[Values, Values]]:
        for sums, counts in list_parts(study, augmentations, ["word_cosines"]):
            own = np.diagonal(square(sums), axis1=1, axis2=2)
            views = np.diagonal(square(counts), axis1=1, axis2=2)  # one that moved has a cosine with every word
            yield np.hstack([own, (square(sums) * lead).sum(axis=2)]), np.hstack([views, views])

    return gather(parts(), groups=study.groups)


def word_test(table: pl.DataFrame, sample: Estimates | None, *, seed: int) -> pl.DataFrame:
    kept, square = tested(table)
    rows: list[dict[str, object]] = []
    for index, name in enumerate(kept):
        row, own = square[index], float(square[index, index])
        others = float(np.delete(row, index).mean()) if len(row) > 1 else None
        rows.append({"augmentation": name, "rank": 1 + int((row > own).sum()), "own": own, "others": others})
    if len(kept) > 1:
        rows.append({"augmentation": ALL, **_permuted(square, seed)})
    if sample is not None:
        _add_intervals(rows, sample, seed)
    difference = pl.col("own") - pl.col("others")
    return pl.DataFrame(rows, schema=TEST_SCHEMA).with_columns(difference=difference).fill_nan(None)


def _add_intervals(rows: list[dict[str, object]], sample: Estimates, seed: int) -> None:
    count = len(rows) - 1
    cosines, leads = sample.columns(range(count)), sample.columns(range(count, 2 * count))
    mean = cosines.combine(np.full((count, 1), 1 / count))
    interval = functools.partial(mean_interval, seed=seed, low=-1.0, high=1.0)
    lows, highs = (np.append(*ends) for ends in zip(interval(cosines), interval(mean), strict=True))
    images = np.append(cosines.images_having, mean.images_having)
    simultaneous = simultaneous_intervals(leads, seed=seed)
    for index, row in enumerate(rows):
        row |= {"n": int(images[index]), "own_low": lows[index], "own_high": highs[index]}
        if index < count:
            ends = {"low": simultaneous.low[index], "high": simultaneous.high[index]}
            row |= ends | {"significant": bool(simultaneous.significant[index])}


def _permuted(square: Values, seed: int) -> dict[str, float]:
    size, diagonal = len(square), float(np.trace(square))
    drawn = np.random.default_rng(seed).permuted(np.tile(np.arange(size), (PERMUTATIONS, 1)), axis=1)
    sums = square[np.arange(size), drawn].sum(axis=1)
    # Relabelling keeps the sum of the matrix: a larger diagonal has a larger lead over the rest.
    reached = int((sums >= diagonal - 1e-12).sum())
    return {
        "own": diagonal / size,
        "others": float((square.sum() - diagonal) / (size * size - size)),
        "p_value": (1 + reached) / (1 + PERMUTATIONS),
    }


def zero_shot(study: ImageRows, augmentations: Sequence[str], *, seed: int) -> pl.DataFrame:
    order = study.layout
    if not order.images:
        return pl.DataFrame(schema=CLASSES_SCHEMA)

    def parts() -> Iterator[tuple[Values, Values]]:
        measured = ["zero_shot_flip", "zero_shot_margin_shift"]
        for block in study.blocks(*measured, "zero_shot_margin"):
            before = order.values(block, ORIGINAL, ["zero_shot_margin"])
            views = (order.values(block, name, measured) for name in augmentations)
            yield side_by_side(sums_and_counts(_agreement_and_margins(values, before)) for values in views)

    sample = gather(parts(), together=False, groups=study.groups)
    agreement, before, margin = (sample.columns(range(start, 3 * len(augmentations), 3)) for start in range(3))
    ends = mean_interval(margin, seed=seed, low=-2.0, high=2.0)
    numbers = (agreement.mean, *proportion_interval(agreement), before.mean, margin.mean, *ends)
    columns = {"augmentation": augmentations, "n": agreement.counts.astype(np.int64)}
    return pl.DataFrame(columns | dict(zip(CLASS_NUMBERS, numbers, strict=True)), schema=CLASSES_SCHEMA).fill_nan(None)


def _agreement_and_margins(values: Values, before: Values) -> Values:
    """Converts flips and shifts of margins `[b, draws, 2]` to agreement, margin of the original, margin of the view."""
    flips, shifts = values[..., 0], values[..., 1]
    margin = before[..., 0] + shifts
    return np.stack([1 - flips, margin - shifts, margin], axis=-1)


def phrases(reader: Reader) -> dict[str, str]:
    words = reader.identity_of("text").get("words", {})
    return {name: phrase for name, phrase in words.items() if name != ORIGINAL}


def word_test_table(reader: Reader) -> pl.DataFrame:
    table = reader.need("words")
    sample = own_and_leads(reader.image_rows, reader.augmentations, [*phrases(reader)], tested(table)[0])
    return word_test(table, sample, seed=reader.info.seed)


TABLES: tuple[Table[Reader], ...] = (
    Table(
        "words",
        lambda reader: words(reader.image_rows, reader.augmentations, [*phrases(reader)], seed=reader.info.seed),
        is_available=phrases,
        doc="Alignment of shifts with words: `augmentation, word, n, mean, ci_low, ci_high`.",
    ),
    Table(
        "word_test",
        word_test_table,
        reads=("words",),
        is_available=phrases,
        doc="The rank of each augmentation's own word among all words, and a permutation test over all augmentations.",
    ),
    Table(
        "text_search",
        lambda reader: text_search(reader.image_rows, reader.augmentations, seed=reader.info.seed),
        is_available=lambda reader: reader.identity_of("text").get("caption_vectors"),
        requires="`text`, captions, and stored vectors (`store` all)",
        doc="Search by caption before and after each augmentation: recall@1, recall@5, recall@10 and mrr.",
    ),
    Table(
        "zero_shot",
        lambda reader: zero_shot(reader.image_rows, reader.augmentations, seed=reader.info.seed),
        is_available=lambda reader: "zero_shot_margin_shift" in reader.metrics,
        requires="class names, by `labels`",
        doc="By augmentation: the fraction of views that keep their original's class, and the margin of that class.",
    ),
)
