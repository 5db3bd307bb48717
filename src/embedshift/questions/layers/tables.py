"""The table `layers`: how far an augmentation moves the output of each block."""

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.questions.layers import COMPARED, TOKENS, column
from embedshift.registry import METRICS
from embedshift.statistics.agreement import LEAST_CKA, cka, cka_interval
from embedshift.statistics.intervals import mean_interval
from embedshift.statistics.layout import list_parts
from embedshift.statistics.sample import gather
from embedshift.store.reader import Reader
from embedshift.store.table import Table

SCHEMA = pl.Schema(
    {"augmentation": str, "layer": int, "token": str, "metric": str, "n": int}
    | {"mean": float, "ci_low": float, "ci_high": float}
)

# Numbers of values, values, and the ends of their intervals: `[A, K, L]` each.
Numbers = tuple[Values, Values, Values, Values]


def layers(reader: Reader) -> pl.DataFrame:
    study, names = reader.image_rows, reader.augmentations
    tokens = [token for token in TOKENS if column("l2_distance", token) in study.columns]
    token_metrics = [(token, metric) for token in tokens for metric in COMPARED]
    if not study.layout.images:
        return pl.DataFrame(schema=SCHEMA)
    columns = [column(metric, token) for token, metric in token_metrics]
    sample = gather(list_parts(study, names, columns), together=False, groups=study.groups)
    shape = len(names), len(token_metrics), len(sample.mean) // (len(names) * len(token_metrics))
    bounds = ([getattr(METRICS[metric], end) for _, metric in token_metrics] for end in ("low", "high"))
    least, most = (np.tile(np.repeat(bound, shape[2]), shape[0]) for bound in bounds)
    ends = mean_interval(sample, seed=reader.info.seed, low=least, high=most)
    of_means = (values.reshape(shape) for values in (sample.counts, sample.mean, *ends))
    of_cka = cka_of(reader, (shape[0], len(tokens), shape[2]))
    numbers = [np.concatenate(parts, axis=1).ravel().tolist() for parts in zip(of_means, of_cka, strict=True)]
    pairs = [*token_metrics, *((token, "cka") for token in tokens)]
    keys = [(name, layer, *pair) for name in names for pair in pairs for layer in range(1, shape[2] + 1)]
    rows = [(*key, int(n), *values) for key, n, *values in zip(keys, *numbers, strict=True)]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").fill_nan(None)


def cka_of(reader: Reader, shape: tuple[int, int, int]) -> Numbers:
    """Returns CKA of a study's images before and after each augmentation, by token and layer; NaN for too few."""
    total, nothing = reader.sums("cka"), np.full(shape, np.nan)
    if not total:
        return np.zeros(shape), nothing, nothing, nothing
    images = int(total["images"])
    counts = np.full(shape, float(images * reader.info.draws))
    if images < LEAST_CKA:
        return counts, nothing, nothing, nothing
    # Shards, which are left out one by one, do not hold whole groups.
    parts = (part["terms"] for part in reader.shard_sums("cka")) if reader.groups is None else ()
    return counts, cka(total["terms"]), *cka_interval(total["terms"], parts)


DOC = "Shift by depth: `augmentation, layer, token, metric, n, mean, ci_low, ci_high`; layer 1 = the first block."

TABLES = (Table("layers", layers, doc=DOC),)
