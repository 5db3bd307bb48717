"""The table `layers`: at which block of the encoder an augmentation bites."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.questions.layers.cka import cka
from embedshift.questions.layers.columns import COMPARED, TOKENS, column
from embedshift.statistics import bootstrap
from embedshift.store.reader import Reader
from embedshift.store.tables import Table

SCHEMA: dict[str, type[pl.DataType]] = {
    "augmentation": pl.String,
    "layer": pl.Int64,
    "token": pl.String,
    "metric": pl.String,
    "n": pl.Int64,
    **dict.fromkeys(("mean", "ci_low", "ci_high"), pl.Float64),
}


def layers(
    rows: pl.LazyFrame, augmentations: Sequence[str], terms: tuple[int, Values], *, draws: int, seed: int
) -> pl.DataFrame:
    """Per augmentation, layer, token and metric: n, mean, and a bootstrap 95 % interval of the mean.

    Args:
        rows: Records of a study with layers.
        augmentations: A names, in suite order.
        terms: How many images the terms of CKA are of, and their sums `[A, T, L, 3]`, as `CkaSums` makes them.
        draws: Views per augmentation.
        seed: The study's seed; it decides the resamples.

    Returns:
        `augmentation, layer, token, metric, n, mean, ci_low, ci_high`; layers count from 1, the first block, to L, the
        last. n counts the views; NaN values are left out. "cka" is one number of all images, without an interval. What
        has no value is null.
    """
    order, there = bootstrap.layout(rows), rows.collect_schema().names()
    tokens = [token for token in TOKENS if column("l2_distance", token) in there]
    names = [(token, metric) for token in tokens for metric in COMPARED]
    if not order.images:
        return pl.DataFrame(schema=SCHEMA)
    counts, means, low, high = bootstrap.describe_lists(
        rows, order, augmentations, [column(m, t) for t, m in names], seed
    )
    images, sums = terms
    made: list[pl.DataFrame] = []
    for place, augmentation in enumerate(augmentations):
        for k, (token, metric) in enumerate(names):
            cell = (place, k)
            numbers = {"n": counts[cell], "mean": means[cell], "ci_low": low[cell], "ci_high": high[cell]}
            made.append(_part(augmentation, token, metric, **numbers))
        for k, token in enumerate(tokens if images else []):
            values = cka(sums[place, k])
            made.append(_part(augmentation, token, "cka", n=np.full(len(values), images * draws), mean=values))
    return pl.concat(made)


def _part(augmentation: str, token: str, metric: str, **numbers: Values) -> pl.DataFrame:
    """One row per layer; NaN and what is not there become null."""
    made = pl.DataFrame({"layer": np.arange(1, len(numbers["mean"]) + 1)} | numbers).fill_nan(None)
    words = {"augmentation": augmentation, "token": token, "metric": metric}
    missing = {name: None for name in SCHEMA if name not in {*made.columns, *words}}
    made = made.with_columns(pl.lit(value).alias(name) for name, value in (words | missing).items())
    return made.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())


def of_study(reader: Reader) -> pl.DataFrame:
    """The table of a study."""
    found = reader.sums("cka")
    terms = int(found.get("images", np.zeros(()))), found.get("terms", np.zeros(()))
    return layers(reader.rows(), reader.augmentations, terms, draws=reader.info.draws, seed=reader.info.seed)


TABLES = (Table("layers", of_study),)
