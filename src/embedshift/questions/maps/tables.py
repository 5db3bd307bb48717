"""The tables `maps` and `map_trust`: how far maps change, and how well they identify important patches."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from embedshift.augmentations import ORIGINAL
from embedshift.questions.maps import ATTENTION, BOUNDS, COMPARISONS, RANDOM, SCORES, column_of, map_columns
from embedshift.statistics.intervals import mean_interval, simultaneous_intervals
from embedshift.statistics.layout import ImageRows, image_rows, metric_parts
from embedshift.statistics.sample import estimates_from_values, gather
from embedshift.store.reader import Reader
from embedshift.store.table import Table

MAPS = pl.Schema(
    {"augmentation": str, "map": str, "metric": str, "n": int, "mean": float, "ci_low": float, "ci_high": float}
)
TRUST = pl.Schema(
    {"map": str, "score": str}
    | {"n": int, "mean": float, "ci_low": float, "ci_high": float, "gain": float, "significant": bool}
)


def map_names(reader: Reader) -> tuple[str, ...]:
    settings = reader.identity_of("maps")
    return (*([ATTENTION] if settings.get("attention") else []), *settings.get("maps", ()))


def image_ids(rows: pl.LazyFrame, names: Sequence[str]) -> list[str]:
    mapped = rows.filter(pl.col("view") == ORIGINAL, pl.col(map_columns(names[-1])[1]).is_not_null())
    return mapped.select("image_id").collect()["image_id"].to_list()


def maps(study: ImageRows, augmentations: Sequence[str], names: Sequence[str], *, seed: int) -> pl.DataFrame:
    if not study.layout.images:
        return pl.DataFrame(schema=MAPS)
    pairs = [(name, metric) for name in names for metric in COMPARISONS[name]]
    parts = metric_parts(study, augmentations, [column_of(*pair) for pair in pairs])
    sample = gather(parts, together=False, groups=study.groups)
    low, high = (np.tile([BOUNDS[metric][end] for _, metric in pairs], len(augmentations)) for end in (0, 1))
    low, high = mean_interval(sample, seed=seed, low=low, high=high)
    cells = {
        "augmentation": np.repeat(np.array(augmentations, object), len(pairs)),
        "map": [name for name, _ in pairs] * len(augmentations),
        "metric": [metric for _, metric in pairs] * len(augmentations),
        "n": sample.counts, "mean": sample.mean, "ci_low": low, "ci_high": high,
    }  # fmt: skip
    return pl.DataFrame(cells, schema=MAPS).fill_nan(None)


def trust(study: ImageRows, names: Sequence[str], *, seed: int) -> pl.DataFrame:
    pairs = [(name, kind) for name in (*names, RANDOM) for kind in SCORES]
    scores = [column_of(*pair) for pair in pairs]
    originals = study.frame.filter(pl.col("view") == ORIGINAL).select(scores).collect()
    if originals.is_empty():
        return pl.DataFrame(schema=TRUST)
    values = originals.cast(pl.Float64).fill_null(np.nan).to_numpy()
    sample = estimates_from_values(values, study.groups)
    low, high = mean_interval(sample, seed=seed, low=-1.0, high=1.0)
    better = values - np.tile(values[:, -2:], len(names) + 1)
    better[:, 0::2] *= -1
    gain = estimates_from_values(better[:, :-2], study.groups)
    significant = simultaneous_intervals(gain, seed=seed).significant
    columns = {
        "map": [name for name, _ in pairs],
        "score": [kind for _, kind in pairs],
        "n": sample.counts, "mean": sample.mean, "ci_low": low, "ci_high": high,
        "gain": [*gain.mean, None, None], "significant": [*significant.tolist(), None, None],
    }  # fmt: skip
    return pl.DataFrame(columns, schema=TRUST).fill_nan(None)


def _rows(reader: Reader) -> ImageRows:
    rows = reader.rows()
    ids = image_ids(rows, map_names(reader))
    return replace(image_rows(rows.filter(pl.col("image_id").is_in(ids))), groups=reader.groups_of(ids))


TABLES: tuple[Table[Reader], ...] = (
    Table(
        "maps",
        lambda reader: maps(_rows(reader), reader.augmentations, map_names(reader), seed=reader.info.seed),
        doc="Change of relevance and token maps: `augmentation, map, metric, n, mean, ci_low, ci_high`.",
    ),
    Table(
        "map_trust",
        lambda reader: trust(_rows(reader), map_names(reader), seed=reader.info.seed),
        doc="How well maps name the patches that determine the embedding.",
    ),
)
