"""Tables of text of a comparison: ratios of relative shifts, tolerances, and means side by side."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from embedshift.config import Json
from embedshift.report.numbers import MISSING, count, fixed, significant, with_ends
from embedshift.statistics.equivalence import RELATIVE_SHIFT
from embedshift.statistics.strengths import ONE_LEVEL, with_interval_in_words
from embedshift.store.plans import ALL
from embedshift.study.result import Grid

HEADINGS = ("augmentation", "reference", "study", "times as far", "recall@1, reference", "difference")


def ratios(comparison: pl.DataFrame, shown: Sequence[str] | None = None) -> Iterator[Grid]:
    """Yields a table of ratios for each study: of some augmentations and their mean, or of all."""
    rows = comparison if shown is None else comparison.filter(pl.col("augmentation").is_in([ALL, *shown]))
    for (study,), own in rows.group_by("study", maintain_order=True):
        title = (
            f"{study} against {own['reference'][0]}: relative shifts, and how many times as far; * = significant, "
            "corrected for all augmentations"
        )
        if cells := [*_ratio_cells(own)]:
            narrow = [_columns(title, cells, range(4)), _columns("Of a search:", cells, (0, 4, 5))]
            yield Grid(HEADINGS, ("name", "number"), cells, title, narrow=narrow)


def _columns(title: str, rows: Sequence[Sequence[str]], columns: Sequence[int]) -> Grid:
    cells = [[row[column] for column in columns] for row in rows]
    return Grid([HEADINGS[column] for column in columns], ("name", "number"), cells, title)


def _ratio_cells(rows: pl.DataFrame) -> Iterator[list[str]]:
    recalls = rows.filter(metric="recall@1").rows_by_key("augmentation", named=True, unique=True)
    for row in rows.filter(metric=RELATIVE_SHIFT).iter_rows(named=True):
        ratio = with_ends(row["ratio"], row["ratio_low"], row["ratio_high"], 2)
        recall, places = recalls.get(row["augmentation"]), [MISSING, MISSING]
        if recall is not None:
            difference = with_ends(recall["difference"], recall["ci_low"], recall["ci_high"], 3, signed=True)
            places = [fixed(recall["reference_mean"], 3), difference + _star(recall)]
        means = [fixed(row[name], 3) for name in ("reference_mean", "mean")]
        yield [row["augmentation"], *means, ratio + _star(row), *places]


def _star(row: Json) -> str:
    return " *" if row["significant"] else ""


def means(
    side_by_side: pl.DataFrame, comparison: pl.DataFrame, studies: pl.DataFrame, shown: Sequence[str]
) -> Iterator[Grid]:
    """Yields the means of all studies side by side, with a narrow table for each study beside the reference."""
    rows = side_by_side.filter(pl.col("augmentation").is_in(shown))
    first, *others = studies["study"].to_list()
    parts = [
        (str(metric), own)
        for (metric,), own in rows.group_by("metric", maintain_order=True)
        if not all(own[name].equals(own[first], null_equal=True) for name in others)
    ]
    if not parts:
        return
    title = (
        f"{count(studies['compared'][0], 'image')} measured by every study; "
        "means, and differences with 95 % intervals; * = significant, corrected for all augmentations of a metric"
    )
    if len(shown) < side_by_side["augmentation"].n_unique():
        title += f"; {ONE_LEVEL} (in the first study)"
    differences = comparison.rows_by_key(["metric", "augmentation", "study"], named=True, unique=True)
    whole, *narrow = (_means(title, parts, differences, first, own) for own in (others, *([name] for name in others)))
    yield Grid(whole.headings, whole.kinds, whole.rows, whole.title, narrow=narrow)


def _means(
    title: str,
    parts: Sequence[tuple[str, pl.DataFrame]],
    differences: Mapping[Any, Json],
    first: str,
    others: Sequence[str],
) -> Grid:
    headings = ["reference", "mean"] if len(others) == 1 else [first, *others]
    if len(others) == 1:
        title = f"mean: {others[0]}\nreference: {first}\n{title}"
    cells: list[list[str]] = []
    for metric, rows in parts:
        cells += [*([[]] if cells else []), [metric]]
        for row in rows.iter_rows(named=True):
            line = [f"  {row['augmentation']}", fixed(row[first], 3)]
            for name in others:
                difference = differences[metric, row["augmentation"], name]
                ends = (difference[each] for each in ("difference", "ci_low", "ci_high"))
                line += [fixed(row[name], 3), significant(*ends) + _star(difference)]
            cells.append(line)
    columns = [headings[0], *(each for name in headings[1:] for each in (name, "difference"))]
    return Grid(["metric\n  augmentation", *columns], ("name", "number"), cells, title)


def tolerances(table: pl.DataFrame, studies: pl.DataFrame) -> Grid:
    """Returns the tolerances of all studies side by side."""
    names = studies["study"].to_list()
    title = f"{count(studies['compared'][0], 'image')} measured by every study; tolerances with 95 % intervals"
    cells = [
        [row["family"], row["criterion"]]
        + [
            with_interval_in_words(
                {"value": row[name], "low": row[f"{name} low"], "high": row[f"{name} high"], "unit": row["unit"]}
            )
            for name in names
        ]
        for row in table.iter_rows(named=True)
    ]
    return Grid(["family", "criterion", *names], ("name", "name", "text"), cells, title)
