"""What a comparison says besides paired differences: the studies, their rankings, and the largest difference."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from embedshift.statistics import summary as tables
from embedshift.statistics.layout import image_rows
from embedshift.statistics.summary import COSINE, RADAR_METRICS
from embedshift.store.naming import tails
from embedshift.study.paired.means import none_if_nan
from embedshift.study.paired.studies import PairedStudies

STATISTICS = ("mean", "sd", "median", "q05", "q95", "ci_low", "ci_high")


def described_studies(paired: PairedStudies) -> pl.DataFrame:
    """Returns one row per study: name, folder, encoder, and numbers of images."""
    encoders = [reader.info.encoder for reader in paired.readers]
    return pl.DataFrame(
        {
            "study": paired.names,
            "folder": tails([reader.folder.resolve() for reader in paired.readers]),
            "encoder": [reader.naming.setting(reader.info.encoder.name) for reader in paired.readers],
            **{
                name: [vars(encoder)[name] for encoder in encoders]
                for name in ("precision", "weights_hash", "dim", "size")
            },
            "measured": [len(reader.image_ids()) for reader in paired.readers],
            "compared": len(paired.ids),
        }
    )


def rankings(means: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    studies = means.drop_nulls("mean").group_by("metric").agg(pl.col("study").n_unique())
    shared = set(studies.filter(pl.col("study") == len(names))["metric"]) & set(RADAR_METRICS)
    kept = means.filter(pl.col("metric").is_in(list(shared)))
    return pl.concat(
        [
            tables.ranking(kept.filter(pl.col("study") == name)).select(pl.lit(name).alias("study"), pl.all())
            for name in names
        ]
    )


def rank_correlations(means: pl.DataFrame, ranking: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    cosine = means.filter(pl.col("metric") == COSINE)
    orders = {"rank_correlation": (ranking, "mean_performance"), "rank_correlation_cosine": (cosine, "mean")}
    correlations: dict[str, list[float | None]] = {}
    for name, (table, column) in orders.items():
        values = [table.filter(pl.col("study") == study)[column] for study in names]
        correlations[name] = [spearman(study_values, values[0]) for study_values in values]
    return pl.DataFrame(correlations, schema=dict.fromkeys(correlations, pl.Float64))


def spearman(first: pl.Series, second: pl.Series) -> float | None:
    """Returns Spearman's rank correlation where both have a value; None if there is no order to compare."""
    both = pl.DataFrame({"first": first, "second": second}).drop_nulls()
    return None if len(both) < 2 else none_if_nan(both.select(pl.corr("first", "second", method="spearman")).item())


def largest_differences(paired: PairedStudies) -> pl.DataFrame:
    summaries = [
        tables.summary(rows, tables.measured(rows, paired.augmentations, paired.metrics), seed=paired.seed)
        for rows in (replace(image_rows(rows), groups=paired.groups) for rows in paired.rows())
    ]
    parts = []
    for s, name in list(enumerate(paired.names))[1:]:
        comparable = [metric for metric in paired.metrics if paired.same_unit(metric)[s]]
        largest = largest_by_metric(summaries[s].filter(pl.col("metric").is_in(comparable)), summaries[0])
        studies = pl.lit(name).alias("study"), pl.lit(paired.names[0]).alias("reference")
        parts.append(largest.select(*studies, pl.all()))
    return pl.concat(parts)


def largest_by_metric(summary: pl.DataFrame, reference: pl.DataFrame) -> pl.DataFrame:
    """Returns `metric, augmentation, column, value, reference_value, difference`, the largest difference first."""
    keys = ["metric", "augmentation", "column"]
    values, reference_values = (
        table.unpivot(STATISTICS, index=["metric", "augmentation"], variable_name="column", value_name=name)
        for table, name in ((summary, "value"), (reference, "reference_value"))
    )
    joined = values.join(reference_values, on=keys, maintain_order="left").drop_nulls()
    differences = joined.with_columns((pl.col("value") - pl.col("reference_value")).alias("difference"))
    ordered = differences.sort(pl.col("difference").abs(), descending=True, maintain_order=True)
    return ordered.unique("metric", keep="first", maintain_order=True).select(*keys, pl.exclude(keys))
