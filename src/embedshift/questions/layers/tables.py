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
from embedshift.statistics.chunks import Rows, chunked, gather
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
class StudyCka:
    """CKA of a study's images before and after each augmentation, `[A, T, L]` each."""

    images: int
    value: Values
    low: Values
    high: Values


def layers(
    rows: Rows, augmentations: Sequence[str], cka_of_study: StudyCka | None, *, draws: int, seed: int
) -> pl.DataFrame:
    """Returns for each augmentation, layer, token and metric n, the mean, and its 95 % interval."""
    study = chunked(rows)
    stored_columns = study.columns.names()
    tokens = [token for token in TOKENS if column("l2_distance", token) in stored_columns]
    token_metrics = [(token, metric) for token in tokens for metric in COMPARED]
    if not study.items:
        return pl.DataFrame(schema=SCHEMA)
    columns = [column(metric, token) for token, metric in token_metrics]
    read = functools.partial(list_parts, order=study.order, augmentations=augmentations, names=columns)
    sample = gather(study, read, together=False)
    shape = len(augmentations), len(token_metrics), len(sample.mean) // (len(augmentations) * len(token_metrics))
    bounds = ([getattr(METRICS[metric], end) for _, metric in token_metrics] for end in ("low", "high"))
    least, most = (np.tile(np.repeat(bound, shape[2]), shape[0]) for bound in bounds)
    ends = mean_interval(sample, seed=seed, low=least, high=most)
    counts, means, low, high = (values.reshape(shape) for values in (sample.counts, sample.mean, *ends))
    tables: list[pl.DataFrame] = []
    for index, name in enumerate(augmentations):
        for k, (token, metric) in enumerate(token_metrics):
            cell = (index, k)
            numbers = {"n": counts[cell], "mean": means[cell], "ci_low": low[cell], "ci_high": high[cell]}
            tables.append(_part(name, token, metric, numbers))
        for k, token in enumerate(tokens):
            tables.append(_part(name, token, "cka", _cka_numbers(cka_of_study, (index, k), draws, shape[2])))
    return pl.concat(tables)


def _cka_numbers(cka_of_study: StudyCka | None, cell: tuple[int, int], draws: int, depth: int) -> dict[str, Values]:
    """Returns the CKA numbers of one augmentation and token, layer by layer."""
    if cka_of_study is None:
        return {"n": np.zeros(depth), **dict.fromkeys(("mean", "ci_low", "ci_high"), np.full(depth, np.nan))}
    numbers = {"mean": cka_of_study.value[cell], "ci_low": cka_of_study.low[cell], "ci_high": cka_of_study.high[cell]}
    return {"n": np.full(depth, float(cka_of_study.images * draws)), **numbers}


def _part(augmentation: str, token: str, metric: str, numbers: dict[str, Values]) -> pl.DataFrame:
    """Returns one row per layer; NaN becomes null."""
    table = pl.DataFrame({"layer": np.arange(1, len(numbers["mean"]) + 1)} | numbers).fill_nan(None)
    words = {"augmentation": augmentation, "token": token, "metric": metric}
    table = table.with_columns(pl.lit(value).alias(name) for name, value in words.items())
    return table.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())


def study_cka(reader: Reader) -> StudyCka | None:
    """Returns CKA of a study from the terms of its shards; None if no shard has any."""
    total = reader.sums("cka")
    if not total:
        return None
    images, terms = int(total["images"]), total["terms"]
    if images < LEAST_CKA:
        nothing = np.full(terms.shape[:-1], np.nan)
        return StudyCka(images, nothing, nothing, nothing)
    # Shards, which are left out one by one, do not hold whole groups.
    parts = (part["terms"] for part in reader.shard_sums("cka")) if reader.units is None else ()
    return StudyCka(images, cka(terms), *interval(terms, parts))


def layers_table(reader: Reader) -> pl.DataFrame:
    info = reader.info
    return layers(reader.chunks, reader.augmentations, study_cka(reader), draws=info.draws, seed=info.seed)


DOC = "Shift by depth: `augmentation, layer, token, metric, n, mean, ci_low, ci_high`; layer 1 = the first block."

TABLES = (Table("layers", layers_table, doc=DOC),)
