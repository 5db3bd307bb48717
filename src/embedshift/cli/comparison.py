"""The output of a comparison: means of all studies side by side, their differences, their tolerances."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.table import Table

from embedshift.cli.results import number
from embedshift.statistics.families import ONE_LEVEL
from embedshift.statistics.units import in_words, interval_in_words
from embedshift.study.comparison import Comparison


def comparison_tables(found: Comparison, fits: Callable[[Table], bool]) -> list[Table]:
    """Returns a table of the means of all studies and of their differences from the first, with intervals."""
    shown = found.side_by_side.filter(pl.col("augmentation").is_in(found.shown))
    first, *others = found.studies["study"].to_list()
    parts = [
        (str(metric), rows)
        for (metric,), rows in shown.group_by("metric", maintain_order=True)
        if not all(rows[name].equals(rows[first], null_equal=True) for name in others)
    ]
    if not parts:
        return []
    whole = _table(found, parts, first, others)
    return [whole] if fits(whole) else [_table(found, parts, first, [name]) for name in others]


def _table(found: Comparison, parts: Sequence[tuple[str, pl.DataFrame]], first: str, others: Sequence[str]) -> Table:
    title = (
        f"{found.studies['compared'][0]} images measured by every study; means, and differences with 95 % intervals; "
        "* = significant, corrected for all augmentations of a metric"
    )
    if len(found.shown) < _augmentations(found):
        title += f"; {ONE_LEVEL} (in the first study)"
    if len(others) == 1:
        title = f"mean: {others[0]}\nreference: {first}\n{title}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("metric\n  augmentation", no_wrap=True)
    for_each = [name.replace(" ", "\n") for name in (first, *others)] if len(others) > 1 else ["reference", "mean"]
    table.add_column(for_each[0], justify="right")
    for name in for_each[1:]:
        table.add_column(name, justify="right")
        table.add_column("difference", justify="right", no_wrap=True)
    told = {(r["metric"], r["augmentation"], r["study"]): r for r in found.comparison.iter_rows(named=True)}
    for metric, rows in parts:
        table.add_row(metric)
        for row in rows.iter_rows(named=True):
            cells = [number(row[first])]
            for name in others:
                cells += [number(row[name]), _with_interval(told[metric, row["augmentation"], name])]
            table.add_row(f"  {row['augmentation']}", *cells)
        table.add_section()
    return table


def _augmentations(found: Comparison) -> int:
    return found.side_by_side["augmentation"].n_unique()


def no_difference(found: Comparison) -> str:
    """Returns the sentence for a comparison without a table: no mean of a study differs from the first study's."""
    where = "" if len(found.shown) == _augmentations(found) else f" ({ONE_LEVEL}, in the first study)"
    images = found.studies["compared"][0]
    return f"No difference: every metric has the same means in all studies, over {images:,} images{where}."


def compared_tolerances(found: Comparison) -> Table:
    """Returns the tolerance of every study, family by family."""
    title = f"{found.studies['compared'][0]} images measured by every study; tolerances with 95 % intervals"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("family", no_wrap=True)
    table.add_column("criterion", no_wrap=True)
    names = found.studies["study"].to_list()
    for name in names:
        table.add_column(name, overflow="fold")
    for row in found.tolerances.iter_rows(named=True):
        cells = []
        for name in names:
            interval = interval_in_words(row[f"{name} low"], row[f"{name} high"], row["unit"])
            cells.append(in_words(row[name], row["unit"]) + (f" ({interval})" if interval else ""))
        table.add_row(row["family"], row["criterion"], *cells)
    return table


def _with_interval(row: Mapping[str, float | None]) -> str:
    if row["difference"] is None:
        return "-"
    if row["ci_low"] is None or row["ci_high"] is None:
        return f"{row['difference']:+#.2g}"
    interval = f"({row['ci_low']:+#.2g} to {row['ci_high']:+#.2g})"
    return f"{row['difference']:+#.2g} {interval}{' *' if row['significant'] else ''}"


def comparison_lines(found: Comparison) -> Iterator[str]:
    """Yields each study's largest difference of a summary value, and how similarly it orders the augmentations."""
    for study in found.studies.iter_rows(named=True):
        rows = found.largest.filter(study=study["study"])
        if rows.is_empty():
            continue
        yield f"{study['study']} against {rows['reference'][0]}:"
        for row in rows.filter(pl.col("difference") != 0).iter_rows(named=True):
            yield (
                f"  largest difference in {row['metric']}: {row['difference']:+#.2g} ({row['column']} under "
                f"{row['augmentation']}: {row['value']:.4g} against {row['reference_value']:.4g})"
            )
        orders = number(study["rank_correlation"]), number(study["rank_correlation_cosine"])
        yield "  rank correlation of the augmentations (Spearman): mean performance {}, cosine similarity {}".format(
            *orders
        )
