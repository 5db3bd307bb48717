"""What a comparison says: the studies and their rankings, the largest difference, and the sentence of all."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from embedshift.report.numbers import MISSING, at_most, at_places, interval_decimals, listed
from embedshift.statistics import summary as tables
from embedshift.statistics.equivalence import RELATIVE_SHIFT, Equivalence, Margins
from embedshift.statistics.layout import image_rows
from embedshift.statistics.shift_ratios import SATURATED
from embedshift.statistics.strengths import outward
from embedshift.statistics.summary import COSINE, RADAR_METRICS
from embedshift.store.naming import tails
from embedshift.store.plans import ALL
from embedshift.study.paired.differences import augmentations_apart, equivalences
from embedshift.study.paired.means import none_if_nan
from embedshift.study.paired.studies import PairedStudies

STATISTICS = ("mean", "sd", "median", "q05", "q95", "ci_low", "ci_high")


def described_studies(paired: PairedStudies) -> pl.DataFrame:
    encoders, columns = [reader.info.encoder for reader in paired.readers], ("precision", "weights_hash", "dim", "size")
    return pl.DataFrame(
        {
            "study": paired.names,
            "folder": tails([reader.folder.resolve() for reader in paired.readers]),
            "encoder": [reader.naming.setting(reader.info.encoder.name) for reader in paired.readers],
            **{name: [vars(encoder)[name] for encoder in encoders] for name in columns},
            "measured": [len(reader.image_ids()) for reader in paired.readers],
            "compared": len(paired.ids),
        }
    )


def rankings(means: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    studies = means.drop_nulls("mean").group_by("metric").agg(pl.col("study").n_unique())
    shared = set(studies.filter(pl.col("study") == len(names))["metric"]) & set(RADAR_METRICS)
    kept = means.filter(pl.col("metric").is_in(list(shared)))
    ranked = ((name, tables.ranking(kept.filter(study=name))) for name in names)
    return pl.concat(table.select(pl.lit(name).alias("study"), pl.all()) for name, table in ranked)


def rank_correlations(means: pl.DataFrame, ranking: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    cosine = means.filter(pl.col("metric") == COSINE)
    orders = {"rank_correlation": (ranking, "mean_performance"), "rank_correlation_cosine": (cosine, "mean")}
    correlations: dict[str, list[float | None]] = {}
    for name, (table, column) in orders.items():
        values = [table.filter(pl.col("study") == study)[column] for study in names]
        correlations[name] = [spearman(study_values, values[0]) for study_values in values]
    return pl.DataFrame(correlations, schema=dict.fromkeys(correlations, pl.Float64))


def spearman(first: pl.Series, second: pl.Series) -> float | None:
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
    keys = ["metric", "augmentation", "column"]
    values, reference_values = (
        table.unpivot(STATISTICS, index=["metric", "augmentation"], variable_name="column", value_name=name)
        for table, name in ((summary, "value"), (reference, "reference_value"))
    )
    joined = values.join(reference_values, on=keys, maintain_order="left").drop_nulls()
    differences = joined.with_columns((pl.col("value") - pl.col("reference_value")).alias("difference"))
    ordered = differences.sort(pl.col("difference").abs(), descending=True, maintain_order=True)
    return ordered.unique("metric", keep="first", maintain_order=True).select(*keys, pl.exclude(keys))


# Two encoders are called equal if the whole interval of their ratio is within this factor of 1, or within the second
# although they differ; and two searches within this difference.
EQUAL, NEARLY, AS_MANY = 1.05, 1.01, 0.01
UNDECIDED = "not decided"
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Judgement:
    """What is decided of one study beside the reference.

    Args:
        apart: The augmentations whose ratio is not that over all; none where all ratios may be equal.
        equivalent: What the user's margins ask, by metric.
    """

    apart: Sequence[str] = ()
    equivalent: Mapping[str, Equivalence] = field(default_factory=dict)


def judgements(paired: PairedStudies, margins: Margins) -> dict[str, Judgement]:
    return {
        name: Judgement(augmentations_apart(paired, s), equivalences(paired, s, margins))
        for s, name in list(enumerate(paired.names))[1:]
    }


def verdict(
    comparison: pl.DataFrame, agreement: pl.DataFrame, chance: float, judged: Mapping[str, Judgement] | None = None
) -> str:
    """Returns a sentence a line for each study; `chance`: the fraction of neighbours that unrelated encoders share."""
    lines = []
    for study in comparison["study"].unique(maintain_order=True):
        own = (judged or {}).get(study, Judgement())
        parts = _parts(comparison.filter(study=study), agreement.filter(study=study), chance, own)
        lines.append(f"{'; '.join(parts)}.")
    return "\n".join(lines)


def _parts(rows: pl.DataFrame, agreement: pl.DataFrame, chance: float, judged: Judgement) -> Iterator[str]:
    study, reference = rows.select("study", "reference").row(0)
    shifts = rows.filter(metric=RELATIVE_SHIFT)
    yield _shift_in_words(study, reference, shifts, judged.equivalent.get(RELATIVE_SHIFT))
    every = shifts.filter(pl.col("augmentation") != ALL)
    if saturated := every.filter(pl.col("reference_mean") >= SATURATED)["augmentation"].to_list():
        yield f"{listed(saturated)} {'is' if len(saturated) == 1 else 'are'} left out (saturated)"
    counted = every.filter(~pl.col("augmentation").is_in(saturated), pl.col("significant")).sort("ratio")
    if len(counted) and counted["ratio"][0] < 1 < counted["ratio"][-1]:
        lowest, highest = (_under(counted.row(end, named=True)) for end in (0, -1))
        yield f"its ratios lie on both sides of 1, from {lowest} to {highest}"
        judged_apart = [name for name in judged.apart if name not in counted["augmentation"][[0, -1]]]
        if judged_apart:
            yield f"its ratio is apart from the mean under {listed(judged_apart)}, too"
    elif judged.apart:
        rows_apart = every.filter(pl.col("augmentation").is_in(judged.apart))
        furthest = rows_apart.sort(pl.col("ratio").log().abs(), descending=True).iter_rows(named=True)
        yield f"its ratio is not the same under all: {listed([*map(_under, furthest)])}"
    for row in rows.filter(augmentation=ALL, metric="recall@1").iter_rows(named=True):
        yield _recall_in_words(row, judged.equivalent.get("recall@1"))
    neighbours = pl.col("metric").str.starts_with("neighbours")
    for row in agreement.filter(neighbours).drop_nulls("value").iter_rows(named=True):
        ends = (None if row[end] is None else 100 * row[end] for end in ("ci_low", "ci_high"))
        kept, interval = _with_ends(100 * row["value"], *ends, places=0)
        yield f"{kept} % of neighbours are kept{interval}, {100 * chance:.2g} % by chance"


def _under(row: Row) -> str:
    ratio, interval = _times(row)
    return f"{ratio} under {row['augmentation']}{interval}"


def _times(row: Row) -> tuple[str, str]:
    low, high = row["ratio_low"], row["ratio_high"]
    places = 2 if low is None or high is None or low == high else interval_decimals(low - 1, high - 1)
    return _with_ends(row["ratio"], low, high, places=places)


def _with_ends(value: float, low: float | None, high: float | None, *, places: int) -> tuple[str, str]:
    number, interval = at_places(value, low, high, places)
    return number, "" if interval == MISSING else f" [{interval}]"


def _shift_in_words(study: str, reference: str, shifts: pl.DataFrame, equivalent: Equivalence | None) -> str:
    overall = shifts.filter(augmentation=ALL)
    if overall.is_empty() or overall["ratio"][0] is None:
        return f"{study} against {reference}: how far they move is {UNDECIDED}"
    row = overall.row(0, named=True)
    chosen = shifts.filter(pl.col("augmentation") != ALL, pl.col("ratio").is_not_null())
    number = (chosen["reference_mean"] < SATURATED).sum()
    where = f"over {number} augmentation{'s' if number != 1 else ''}"
    ratio, interval = _times(row)
    words = f"{study} moves {ratio} times as far as {reference}{interval} {where}"
    return words + (f": {equivalent.in_words()}" if equivalent else _decided(row["ratio_low"], row["ratio_high"]))


def _decided(low: float | None, high: float | None) -> str:
    """Returns what an interval of a ratio says: nothing more where it leaves out 1."""
    if low is None or high is None:
        return f": {UNDECIDED}"
    if low == high == 1:
        return ": no difference"
    furthest, decided = max(high, 1 / low), low > 1 or high < 1
    if furthest <= (NEARLY if decided else EQUAL):
        return f": equal within {at_most(100 * (furthest - 1))} %"
    return "" if decided else f": {UNDECIDED}"


def _recall_in_words(row: Row, equivalent: Equivalence | None) -> str:
    difference, low, high = (row[name] for name in ("difference", "ci_low", "ci_high"))
    if low == high == 0:
        return "search finds the same originals" + (f": {equivalent.in_words()}" if equivalent else "")
    points = round(100 * difference, 1)
    sign, word = (-1, "points fewer") if points < 0 else (1, "points more")
    words = f"search finds {f'{abs(points):.1f} percentage {word}' if points else 'as many'} originals"
    if low is None or high is None:
        return f"{words}: {equivalent.in_words() if equivalent else UNDECIDED}"
    low, high = sorted((100 * sign * low, 100 * sign * high))
    words += " [{:.1f} to {:.1f}]".format(*outward(low, high, 1))
    if equivalent is not None:
        return f"{words}: {equivalent.in_words()}"
    if max(-low, high) <= 100 * AS_MANY:
        return f"{words}: equal within {at_most(max(-low, high))} points"
    return words if low > 0 or high < 0 else f"{words}: {UNDECIDED}"
