"""The output of a comparison: means of all studies side by side, their differences, their tolerances."""

from collections.abc import Iterator, Mapping

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.table import Table

from embedshift.cli.results import number
from embedshift.statistics.families import ONE_LEVEL
from embedshift.statistics.units import in_words, interval_in_words
from embedshift.study.comparison import Comparison


def comparison_table(found: Comparison) -> Table:
    """Returns means of all studies side by side, and each study's difference from the first with its interval.

    Metrics that are equal in all studies, such as those of equal pixels, are left out.
    """
    names = found.studies["study"].to_list()
    title = (
        f"{found.studies['compared'][0]} images measured by every study; means, and differences with 95 % intervals; "
        "* = significant, corrected for all augmentations of a metric"
    )
    if len(found.shown) < found.side_by_side["augmentation"].n_unique():
        title += f"; {ONE_LEVEL} (in the first study)"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("metric", no_wrap=True)
    table.add_column("augmentation", no_wrap=True)
    table.add_column(names[0], justify="right", overflow="fold")
    for name in names[1:]:
        table.add_column(name, justify="right", overflow="fold")
        table.add_column("difference", justify="right", no_wrap=True)
    told = {(r["metric"], r["augmentation"], r["study"]): r for r in found.comparison.iter_rows(named=True)}
    of_those_shown = found.side_by_side.filter(pl.col("augmentation").is_in(found.shown))
    for (metric,), rows in of_those_shown.group_by("metric", maintain_order=True):
        if all(rows[name].equals(rows[names[0]], null_equal=True) for name in names):
            continue
        for index, row in enumerate(rows.iter_rows(named=True)):
            cells = [number(row[names[0]])]
            for name in names[1:]:
                cells += [number(row[name]), _with_interval(told[metric, row["augmentation"], name])]
            table.add_row("" if index else str(metric), row["augmentation"], *cells)
        table.add_section()
    return table


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
    return f"{row['difference']:+#.2g} {interval}{' *' if row['settled'] else ''}"


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
