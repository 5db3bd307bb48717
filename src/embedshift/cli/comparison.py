"""The output of a comparison: ratios, means of all studies side by side, their differences, their tolerances."""

from collections.abc import Callable, Sequence

import polars as pl
from rich.table import Table

from embedshift.cli.terminal import folded_columns, name_columns, number, number_columns, text_table
from embedshift.statistics.families import ONE_LEVEL
from embedshift.statistics.units import with_interval_in_words
from embedshift.study.comparison import HEADINGS, Comparison, ratio_cells, with_star
from embedshift.study.paired.ratios import ALL


def ratio_tables(comparison: Comparison, fits: Callable[[Table], bool]) -> list[Table]:
    """Returns for each study its relative shifts beside the first's, their ratios, and recall, in one or two tables."""
    shown, tables = pl.col("augmentation").is_in([ALL, *comparison.shown]), []
    for (study,), rows in comparison.comparison.filter(shown).group_by("study", maintain_order=True):
        title = (
            f"{study} against {rows['reference'][0]}: relative shifts, and how many times as far; * = significant, "
            "corrected for all augmentations"
        )
        cells = list(ratio_cells(rows))
        whole = _ratio_table(title, cells, range(len(HEADINGS)))
        narrow = [_ratio_table(title, cells, range(4)), _ratio_table("Of a search:", cells, (0, 4, 5))]
        tables += [] if not cells else [whole] if fits(whole) else narrow
    return tables


def _ratio_table(title: str, rows: Sequence[Sequence[str]], columns: Sequence[int]) -> Table:
    first, *others = (HEADINGS[column].replace(", ", ",\n") for column in columns)
    table = text_table(title, *name_columns(first), *number_columns(*others, no_wrap=True))
    for row in rows:
        table.add_row(*(row[column] for column in columns))
    return table


def comparison_tables(comparison: Comparison, fits: Callable[[Table], bool]) -> list[Table]:
    """Returns a table of the means of all studies and of their differences from the first, with intervals."""
    shown = comparison.side_by_side.filter(pl.col("augmentation").is_in(comparison.shown))
    first, *others = comparison.studies["study"].to_list()
    parts = [
        (str(metric), rows)
        for (metric,), rows in shown.group_by("metric", maintain_order=True)
        if not all(rows[name].equals(rows[first], null_equal=True) for name in others)
    ]
    if not parts:
        return []
    table = _table(comparison, parts, first, others)
    return [table] if fits(table) else [_table(comparison, parts, first, [name]) for name in others]


def _table(
    comparison: Comparison, parts: Sequence[tuple[str, pl.DataFrame]], first: str, others: Sequence[str]
) -> Table:
    title = (
        f"{comparison.studies['compared'][0]} images measured by every study; "
        "means, and differences with 95 % intervals; * = significant, corrected for all augmentations of a metric"
    )
    if len(comparison.shown) < _augmentations(comparison):
        title += f"; {ONE_LEVEL} (in the first study)"
    if len(others) == 1:
        title = f"mean: {others[0]}\nreference: {first}\n{title}"
    headings = [name.replace(" ", "\n") for name in (first, *others)] if len(others) > 1 else ["reference", "mean"]
    table = text_table(title, *name_columns("metric\n  augmentation"), *number_columns(headings[0]))
    for name in headings[1:]:
        table.add_column(name, justify="right")
        table.add_column("difference", justify="right", no_wrap=True)
    differences = {
        (row["metric"], row["augmentation"], row["study"]): row for row in comparison.comparison.iter_rows(named=True)
    }
    for metric, rows in parts:
        table.add_row(metric)
        for row in rows.iter_rows(named=True):
            cells = [number(row[first])]
            for name in others:
                difference = differences[metric, row["augmentation"], name]
                cells += [number(row[name]), with_star(difference, "difference", "ci", "+#.2g")]
            table.add_row(f"  {row['augmentation']}", *cells)
        table.add_section()
    return table


def _augmentations(comparison: Comparison) -> int:
    return comparison.side_by_side["augmentation"].n_unique()


def no_difference(comparison: Comparison) -> str:
    """Returns the sentence for a comparison without a table: no mean of a study differs from the first study's."""
    where = "" if len(comparison.shown) == _augmentations(comparison) else f" ({ONE_LEVEL}, in the first study)"
    images = comparison.studies["compared"][0]
    return f"No difference: every metric has the same means in all studies, over {images:,} images{where}."


def compared_tolerances(comparison: Comparison) -> Table:
    title = f"{comparison.studies['compared'][0]} images measured by every study; tolerances with 95 % intervals"
    names = comparison.studies["study"].to_list()
    table = text_table(title, *name_columns("family", "criterion"), *folded_columns(*names))
    for row in comparison.tolerances.iter_rows(named=True):
        cells = []
        for name in names:
            ends = {"value": row[name], "low": row[f"{name} low"], "high": row[f"{name} high"], "unit": row["unit"]}
            cells.append(with_interval_in_words(ends))
        table.add_row(row["family"], row["criterion"], *cells)
    return table
