"""Tolerances of several encoders side by side, over the images that all of them measured."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from embedshift.augmentations import ORIGINAL
from embedshift.registry import METRICS
from embedshift.statistics.baselines import Baseline, relative_shifts
from embedshift.statistics.families import MeasuredFamily
from embedshift.statistics.summary import COSINE, measured
from embedshift.statistics.tolerance import of_families, of_missed
from embedshift.store.baselines import baselines, group_sizes
from embedshift.store.reader import Reader


def tolerances(readers: Sequence[Reader], names: Sequence[str], ids: Sequence[str]) -> pl.DataFrame:
    """Returns the tolerance of each study for each family."""
    keys = ["family", "unit", "criterion"]
    families = [family for family in readers[0].families if family.has_strength]
    if not families:
        return pl.DataFrame(schema=dict.fromkeys(keys, pl.String))
    found = [of_families(families, _relative_shifts(reader, families, ids)) for reader in readers]
    if all("search_ranks" in reader.table_names for reader in readers):
        missed = [of_missed(families, _ranks(reader, ids), reader.info.draws) for reader in readers]
        found = [pl.concat(both) for both in zip(found, missed, strict=True)]
    columns = [
        part.select(pl.col("value").alias(name), *(pl.col(end).alias(f"{name} {end}") for end in ("low", "high")))
        for part, name in zip(found, names, strict=True)
    ]
    return pl.concat([found[0].select(keys), *columns], how="horizontal")


def _ranks(reader: Reader, ids: Sequence[str]) -> pl.DataFrame:
    """Returns the search ranks of some of a study's images."""
    table = reader.table("search_ranks")
    assert table is not None
    return table.filter(pl.col("image_id").is_in(list(ids)))


def _relative_shifts(reader: Reader, families: Sequence[MeasuredFamily], ids: Sequence[str]) -> pl.DataFrame:
    """Returns mean relative shifts of the cosine over some of a study's images, with the columns of `summary`."""
    views = [view for family in families for view in family.views]
    rows = reader.rows().filter(pl.col("image_id").is_in(list(ids)))
    baseline = baseline_over(reader, ids, COSINE)
    value = low = high = np.full(len(views), np.nan)
    if baseline is not None:
        of = measured(rows, views, [COSINE], group_sizes({COSINE: baseline}))
        found = relative_shifts(
            of.sample, baseline, METRICS[COSINE].no_change, seed=reader.info.seed, limits=(-1.0, 1.0)
        )
        value, low, high = found.value, found.low, found.high
    columns = {"augmentation": views, "metric": [COSINE] * len(views), "relative_shift": value}
    schema = {"augmentation": pl.String, "metric": pl.String}
    return pl.DataFrame(columns | {"relative_shift_low": low, "relative_shift_high": high}, schema_overrides=schema)


def baseline_over(reader: Reader, ids: Sequence[str], metric: str) -> Baseline | None:
    """Returns the baseline over some of a study's images."""
    known = baselines(reader).get(metric)
    own = reader.rows().filter(pl.col("view") == ORIGINAL).select("image_id").collect()["image_id"]
    kept = own.is_in(list(ids)).to_numpy()
    if known is None or kept.all():
        return known
    vectors = np.concatenate([part["vectors"] for part in reader.shard_sums("vectors")])
    exact = METRICS[metric].baseline
    if exact is None or len(vectors) != len(own):
        return Baseline(known.value, known.error)
    found: Baseline | None = exact({"vectors": {"vectors": vectors[kept]}, "units": {}}.__getitem__, int(kept.sum()))
    return found
