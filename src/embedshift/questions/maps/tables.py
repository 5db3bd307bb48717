"""The tables `maps` and `map_trust`: how far maps change, and how well they identify important patches."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from embedshift.augmentations import ORIGINAL
from embedshift.questions.maps.columns import ATTENTION, BOUNDS, COMPARED, RANDOM, SCORES, compared, score, stored
from embedshift.statistics.intervals import mean_interval, simultaneous_intervals
from embedshift.statistics.layout import layout, metric_parts
from embedshift.statistics.sample import gather, of_values
from embedshift.store.reader import Reader
from embedshift.store.tables import Table

NUMBERS: dict[str, type[pl.DataType]] = {"n": pl.Int64, **dict.fromkeys(("mean", "ci_low", "ci_high"), pl.Float64)}
MAPS: dict[str, type[pl.DataType]] = {**dict.fromkeys(("augmentation", "map", "metric"), pl.String), **NUMBERS}
TRUST: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("map", "score"), pl.String),
    **NUMBERS,
    "gain": pl.Float64,
    "significant": pl.Boolean,
}


def names_of(reader: Reader) -> tuple[str, ...]:
    """Returns the maps of a study; attention first, if the encoder gives any."""
    told = reader.identity_of("maps")
    return (*([ATTENTION] if told.get("attention") else []), *told.get("maps", ()))


def ids_of(rows: pl.LazyFrame, names: Sequence[str]) -> list[str]:
    """Returns the images that have maps."""
    there = rows.filter(pl.col("view") == ORIGINAL, pl.col(stored(names[-1])[1]).is_not_null())
    return there.select("image_id").collect()["image_id"].to_list()


def maps(rows: pl.LazyFrame, augmentations: Sequence[str], names: Sequence[str], *, seed: int) -> pl.DataFrame:
    """Returns for each augmentation, map and metric n, the mean, and its 95 % interval."""
    order = layout(rows)
    if not order.images:
        return pl.DataFrame(schema=MAPS)
    pairs = [(name, metric) for name in names for metric in COMPARED[name]]
    sample = gather(metric_parts(rows, order, augmentations, [compared(*pair) for pair in pairs]), together=False)
    low, high = (np.tile([BOUNDS[metric][end] for _, metric in pairs], len(augmentations)) for end in (0, 1))
    ends = mean_interval(sample, seed=seed, low=low, high=high)
    made = pl.DataFrame(
        {
            "augmentation": np.repeat(np.array(augmentations, object), len(pairs)),
            "map": [name for name, _ in pairs] * len(augmentations),
            "metric": [metric for _, metric in pairs] * len(augmentations),
            "n": sample.counts, "mean": sample.mean, "ci_low": ends[0], "ci_high": ends[1],
        },
        schema_overrides={"augmentation": pl.String},
    )  # fmt: skip
    return made.fill_nan(None).select(pl.col(name).cast(kind) for name, kind in MAPS.items())


def trust(rows: pl.LazyFrame, names: Sequence[str], *, seed: int) -> pl.DataFrame:
    """Returns for each map and score n, the mean, its 95 % interval, and whether it beats a random order of patches."""
    pairs = [(name, kind) for name in (*names, RANDOM) for kind in SCORES]
    originals = rows.filter(pl.col("view") == ORIGINAL).select(score(*pair) for pair in pairs).collect()
    if originals.is_empty():
        return pl.DataFrame(schema=TRUST)
    values = originals.cast(pl.Float64).fill_null(np.nan).to_numpy()
    sample = of_values(values)
    low, high = mean_interval(sample, seed=seed, low=-1.0, high=1.0)
    better = values - np.tile(values[:, -2:], len(names) + 1)
    better[:, 0::2] *= -1
    gain = of_values(better[:, :-2])
    significant = simultaneous_intervals(gain, seed=seed).significant
    made = {
        "map": [name for name, _ in pairs],
        "score": [kind for _, kind in pairs],
        "n": sample.counts, "mean": sample.mean, "ci_low": low, "ci_high": high,
        "gain": [*gain.mean, None, None], "significant": [*significant.tolist(), None, None],
    }  # fmt: skip
    return pl.DataFrame(made).fill_nan(None).select(pl.col(name).cast(kind) for name, kind in TRUST.items())


def _rows(reader: Reader) -> pl.LazyFrame:
    rows = reader.rows()
    return rows.filter(pl.col("image_id").is_in(ids_of(rows, names_of(reader))))


def maps_of(reader: Reader) -> pl.DataFrame:
    """Returns the table `maps` of a study."""
    return maps(_rows(reader), reader.augmentations, names_of(reader), seed=reader.info.seed)


def trust_of(reader: Reader) -> pl.DataFrame:
    """Returns the table `map_trust` of a study."""
    return trust(_rows(reader), names_of(reader), seed=reader.info.seed)


TABLES = (Table("maps", maps_of), Table("map_trust", trust_of))
