"""The tables `strength`, `tolerance` and `corruption`: how far changes move the embedding, level by level."""

import itertools
from collections.abc import Sequence

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.augmentations.corruptions import STANDARD
from embedshift.statistics.baselines import relative_shifts
from embedshift.statistics.intervals import simultaneous_intervals
from embedshift.statistics.strengths import MeasuredFamily, missed_tolerances, relative_shift_tolerances
from embedshift.statistics.summary import COSINE
from embedshift.store.baselines import baselines, measurements
from embedshift.store.reader import Reader
from embedshift.store.table import Table, rules_of_strengths

MEAN = "mean"
# The unit of families that are corruptions: they have no other strength.
UNIT = "severity"
NUMBERS = ("mean", "ci_low", "ci_high", "relative_shift", "relative_shift_low", "relative_shift_high")
STRENGTH_SCHEMA = pl.Schema(
    {"family": str, "level": int, "parameter": float, "unit": str, "metric": str, "n": int}
    | dict.fromkeys(NUMBERS, float)
)
CORRUPTION_SCHEMA = pl.Schema({"corruption": str, "severity": int} | dict.fromkeys(NUMBERS[3:], float))
# What a study must have for these tables, as text.
REQUIRES = "a suite of families: `augmentations` strength or corruptions"


def strength(reader: Reader) -> pl.DataFrame:
    summary_rows = {(row["augmentation"], row["metric"]): row for row in reader.need("summary").iter_rows(named=True)}
    rows = [
        {"family": family.name, "level": level, "parameter": parameter, "unit": family.unit, "metric": metric}
        | {name: summary_rows[view, metric][name] for name in ("n", *NUMBERS)}
        for family in reader.families
        for level, (parameter, view) in enumerate(zip(family.parameters, family.views, strict=True), start=1)
        for metric in reader.metrics
    ]
    return pl.DataFrame(rows, schema=STRENGTH_SCHEMA)


def tolerances(reader: Reader) -> pl.DataFrame:
    ranks = reader.table("search_ranks")
    tables = [relative_shift_tolerances(reader.families, reader.need("summary"))]
    if ranks is not None and not ranks.is_empty():
        tables.append(missed_tolerances(reader.families, ranks, reader.info.draws, reader.groups))
    falls = pl.col("family").replace_strict(falls_of(reader), default=None, return_dtype=pl.String)
    return pl.concat(tables).with_columns(falls.alias("falls"))


def falls_of(reader: Reader) -> dict[str, str]:
    """Returns by family two levels of which the weaker moves further ("1 to 2"), by simultaneous paired intervals."""
    families = [family for family in reader.families if family.has_strength]
    views = [view for family in families for view in family.views]
    pairs = [(f, pair) for f in families for pair in itertools.combinations(range(len(f.views)), 2)]
    weights = np.zeros((len(views), len(pairs)))
    for column, (family, levels) in enumerate(pairs):
        weights[[views.index(family.views[level]) for level in levels], column] = -1.0, 1.0
    cosines = measurements(reader).for_metric(COSINE, views)
    low = simultaneous_intervals(cosines.paired(weights), seed=reader.info.seed).low
    falling = [pairs[column] for column in np.flatnonzero(low > 0)[::-1]]  # of several, the first stays
    return {family.name: f"{weaker + 1} to {stronger + 1}" for family, (weaker, stronger) in falling}


def corruption(reader: Reader) -> pl.DataFrame:
    corruptions = corruptions_of(reader.families)
    views = [view for family in corruptions for view in family.views]
    baselines_by_metric = baselines(reader)
    if COSINE not in baselines_by_metric:
        return pl.DataFrame(schema=CORRUPTION_SCHEMA)
    # Of one number an image, the mean cosine over views: the baseline is one number, so this gives the mean
    # relative shift.
    weights = np.hstack([np.eye(len(views)), mean_weights(corruptions)])
    cosines = measurements(reader).for_metric(COSINE, views).combine(weights)
    shifts = relative_shifts(cosines, baselines_by_metric[COSINE], 1.0, seed=reader.info.seed, limits=(-1.0, 1.0))
    names = [family.name for family in corruptions] + [MEAN]
    keys: list[tuple[str, int | None]] = []
    keys += [(family.name, level) for family in corruptions for level in range(1, 1 + len(family.views))]
    keys += [(name, None) for name in names]
    rows = [(*key, *ends) for key, *ends in zip(keys, shifts.value, shifts.low, shifts.high, strict=False)]
    table = pl.DataFrame(rows, schema=CORRUPTION_SCHEMA, orient="row").fill_nan(None)
    order = pl.col("corruption").cast(pl.Enum(names))
    return table.sort(order, "severity", nulls_last=True, maintain_order=True)


def corruptions_of(families: Sequence[MeasuredFamily]) -> list[MeasuredFamily]:
    return [family for family in families if family.unit == UNIT]


def mean_weights(corruptions: Sequence[MeasuredFamily]) -> Values:
    """Returns weights for means over C corruptions at V severities in total, `[V, C]` or `[V, C + 1]`."""
    counts = [len(family.views) for family in corruptions]
    by_corruption: Values = np.repeat(np.eye(len(counts)), counts, axis=0) / np.repeat(counts, counts)[:, None]
    counted = np.array([family.name in STANDARD for family in corruptions], np.float64)
    if not counted.any():
        return by_corruption
    return np.hstack([by_corruption, by_corruption @ (counted / counted.sum())[:, None]])


TABLES: tuple[Table[Reader], ...] = (
    Table(
        "strength",
        strength,
        reads=("summary",),
        is_available=lambda reader: reader.families,
        requires=REQUIRES,
        doc="One row per family, level and metric, for suites whose families have levels of rising strength.",
    ),
    Table(
        "tolerance",
        tolerances,
        reads=("summary", "search_ranks"),
        is_available=lambda reader: any(family.has_strength for family in reader.families),
        requires=REQUIRES,
        doc="One row per family and criterion: the strength at which the mean reaches it, with its interval.",
        rules=rules_of_strengths("family", "criterion"),
    ),
    Table(
        "corruption",
        corruption,
        is_available=lambda reader: corruptions_of(reader.families),
        requires="corruptions",
        doc="Relative shifts of the corruptions by severity, and their means.",
    ),
)
