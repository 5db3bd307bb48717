"""The table `layers`: how far an augmentation moves the output of each block."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.questions.layers.cka import LEAST_CKA, cka, interval
from embedshift.questions.layers.columns import COMPARED, TOKENS, column
from embedshift.registry import METRICS
from embedshift.statistics.groups import Rows, gather, grouped
from embedshift.statistics.intervals import mean_interval
from embedshift.statistics.layout import list_parts
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


@dataclass(frozen=True)
class Likeness:
    """CKA of a study."""

    images: int
    value: Values
    low: Values
    high: Values


def layers(rows: Rows, augmentations: Sequence[str], alike: Likeness | None, *, draws: int, seed: int) -> pl.DataFrame:
    """Returns for each augmentation, layer, token and metric n, the mean, and its 95 % interval."""
    study = grouped(rows)
    there = study.columns.names()
    tokens = [token for token in TOKENS if column("l2_distance", token) in there]
    names = [(token, metric) for token in tokens for metric in COMPARED]
    if not study.items:
        return pl.DataFrame(schema=SCHEMA)
    columns = [column(metric, token) for token, metric in names]
    read = functools.partial(list_parts, order=study.order, augmentations=augmentations, names=columns)
    sample = gather(study, read, together=False)
    shape = len(augmentations), len(names), len(sample.mean) // (len(augmentations) * len(names))
    bounds = ([getattr(METRICS[metric], end) for _, metric in names] for end in ("low", "high"))
    least, most = (np.tile(np.repeat(each, shape[2]), shape[0]) for each in bounds)
    ends = mean_interval(sample, seed=seed, low=least, high=most)
    counts, means, low, high = (each.reshape(shape) for each in (sample.counts, sample.mean, *ends))
    made: list[pl.DataFrame] = []
    for place, name in enumerate(augmentations):
        for k, (token, metric) in enumerate(names):
            cell = (place, k)
            numbers = {"n": counts[cell], "mean": means[cell], "ci_low": low[cell], "ci_high": high[cell]}
            made.append(_part(name, token, metric, numbers))
        for k, token in enumerate(tokens):
            made.append(_part(name, token, "cka", _likeness(alike, (place, k), draws, shape[2])))
    return pl.concat(made)


def _likeness(alike: Likeness | None, cell: tuple[int, int], draws: int, depth: int) -> dict[str, Values]:
    """Returns the CKA numbers of one augmentation and token, layer by layer."""
    if alike is None:
        return {"n": np.zeros(depth), **dict.fromkeys(("mean", "ci_low", "ci_high"), np.full(depth, np.nan))}
    numbers = {"mean": alike.value[cell], "ci_low": alike.low[cell], "ci_high": alike.high[cell]}
    return {"n": np.full(depth, float(alike.images * draws)), **numbers}


def _part(augmentation: str, token: str, metric: str, numbers: dict[str, Values]) -> pl.DataFrame:
    """Returns one row per layer; NaN becomes null."""
    made = pl.DataFrame({"layer": np.arange(1, len(numbers["mean"]) + 1)} | numbers).fill_nan(None)
    words = {"augmentation": augmentation, "token": token, "metric": metric}
    made = made.with_columns(pl.lit(value).alias(name) for name, value in words.items())
    return made.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())


def likeness_of(reader: Reader) -> Likeness | None:
    """Returns CKA of a study from the terms of its shards; None if no shard has any."""
    total = reader.sums("cka")
    if not total:
        return None
    images, terms = int(total["images"]), total["terms"]
    if images < LEAST_CKA:
        nothing = np.full(terms.shape[:-1], np.nan)
        return Likeness(images, nothing, nothing, nothing)
    return Likeness(images, cka(terms), *interval(terms, (part["terms"] for part in reader.shard_sums("cka"))))


def of_study(reader: Reader) -> pl.DataFrame:
    """Returns the table of a study."""
    info = reader.info
    return layers(reader.groups, reader.augmentations, likeness_of(reader), draws=info.draws, seed=info.seed)


TABLES = (Table("layers", of_study),)
