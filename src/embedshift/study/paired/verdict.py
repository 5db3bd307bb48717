"""The sentence that a comparison comes down to: what is decided between a study and the reference, and what is not."""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from embedshift.statistics.shift_ratios import SATURATED
from embedshift.study.paired.ratios import ALL, RELATIVE_SHIFT

# Two encoders are called equal if the whole interval of their ratio is within this factor of 1, or within the second
# although they differ; and two searches within this difference.
EQUAL, NEARLY, AS_MANY = 1.05, 1.01, 0.01
# The most names in a row.
NAMED = 5
UNDECIDED = "not decided"
Row = Mapping[str, Any]


def verdict(comparison: pl.DataFrame, agreement: pl.DataFrame) -> str:
    """Returns one sentence for each study, each on a line of its own, from the tables of a comparison."""
    studies = comparison["study"].unique(maintain_order=True)
    return "\n".join(
        f"{'; '.join(_parts(comparison.filter(study=study), agreement.filter(study=study)))}." for study in studies
    )


def _parts(rows: pl.DataFrame, agreement: pl.DataFrame) -> Iterator[str]:
    study, reference = rows.select("study", "reference").row(0)
    shifts = rows.filter(metric=RELATIVE_SHIFT)
    yield _moved(study, reference, shifts)
    every = shifts.filter(pl.col("augmentation") != ALL)
    if saturated := every.filter(pl.col("reference_mean") >= SATURATED)["augmentation"].to_list():
        yield f"{_listed(saturated)} {'is' if len(saturated) == 1 else 'are'} left out (saturated)"
    counted = every.filter(~pl.col("augmentation").is_in(saturated)).drop_nulls("ratio").sort("ratio")
    if len(counted) and counted["ratio"][0] < 1 / 1.005 and counted["ratio"][-1] > 1.005:
        yield _both_sides(counted)
    for row in rows.filter(augmentation=ALL, metric="recall@1").iter_rows(named=True):
        yield _found(row)
    neighbours = pl.col("metric").str.starts_with("neighbours")
    for row in agreement.filter(neighbours).drop_nulls("value").iter_rows(named=True):
        yield f"{100 * row['value']:.0f} % of neighbours are kept{_ends(row, 'ci', 100, '.0f')}"


def _moved(study: str, reference: str, shifts: pl.DataFrame) -> str:
    overall = shifts.filter(augmentation=ALL)
    if overall.is_empty() or overall["ratio"][0] is None:
        return f"{study} against {reference}: how far they move is {UNDECIDED}"
    row = overall.row(0, named=True)
    chosen = shifts.filter(pl.col("augmentation") != ALL, pl.col("ratio").is_not_null())
    number = (chosen["reference_mean"] < SATURATED).sum()
    where = f"over {number} augmentation{'s' if number != 1 else ''}"
    words = f"{study} moves {row['ratio']:.2f} times as far as {reference}{_ends(row, 'ratio')} {where}"
    return words + _decided(row["ratio_low"], row["ratio_high"])


def _decided(low: float | None, high: float | None) -> str:
    """Returns what an interval of a ratio says: nothing more where it leaves out 1."""
    if low is None or high is None:
        return f": {UNDECIDED}"
    if low == high == 1:
        return ": no difference"
    furthest, decided = max(high, 1 / low), low > 1 or high < 1
    if furthest <= (NEARLY if decided else EQUAL):
        return f": equal within {100 * (furthest - 1):.1g} %"
    return "" if decided else f": {UNDECIDED}"


def _both_sides(counted: pl.DataFrame) -> str:
    """Names the augmentations at both ends of the ratios, which lie on both sides of 1."""
    ends = [
        f"{row['ratio']:.2f} under {row['augmentation']}{'' if row['significant'] else f' ({UNDECIDED})'}"
        for row in (counted.row(0, named=True), counted.row(-1, named=True))
    ]
    return f"its ratios lie on both sides of 1, from {ends[0]} to {ends[1]}"


def _found(row: Row) -> str:
    difference, low, high = (row[name] for name in ("difference", "ci_low", "ci_high"))
    if low == high == 0:
        return "search finds the same originals"
    points = round(100 * difference, 1)
    sign, word = (-1, "points fewer") if points < 0 else (1, "points more")
    words = f"search finds {f'{abs(points):.1f} percentage {word}' if points else 'as many'} originals"
    if low is not None and high is not None:
        words += " [{:.1f} to {:.1f}]".format(*sorted((100 * sign * low, 100 * sign * high)))
        if max(-low, high) <= AS_MANY:
            return f"{words}: equal within {100 * max(-low, high):.1g} points"
    return words if row["significant"] else f"{words}: {UNDECIDED}"


def _ends(row: Row, name: str, scale: float = 1, form: str = ".2f") -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return "" if low is None or high is None else f" [{scale * low:{form}} to {scale * high:{form}}]"


def _listed(names: list[str]) -> str:
    if len(names) > NAMED:
        names = [*names[: NAMED - 1], f"{len(names) - NAMED + 1} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
