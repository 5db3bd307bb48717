"""The page of a comparison in Markdown: the verdict, the ratios, and whether both encoders see the same neighbours."""

from collections.abc import Iterator

import polars as pl

from embedshift.config import Json
from embedshift.study.markdown import escaped, table
from embedshift.study.paired.ratios import RELATIVE_SHIFT

HEADINGS = ("augmentation", "reference", "study", "times as far", "recall@1, reference", "difference")


def page(comparison: pl.DataFrame, agreement: pl.DataFrame, verdict: str, picture: str) -> str:
    """Returns the page; `picture` is the figure of the ratios beside it, if there is one."""
    parts = ["# Comparison", *map(escaped, verdict.splitlines())]
    parts += [f"![How many times as far]({picture})"] if picture else []
    for study in comparison["study"].unique(maintain_order=True):
        rows = comparison.filter(study=study)
        cells = [[escaped(cell) for cell in line] for line in ratio_cells(rows)]
        parts += [f"## {escaped(study)} against {escaped(rows['reference'][0])}", table(HEADINGS, cells)]
        numbers = agreement.filter(study=study).iter_rows(named=True)
        parts += [f"{row['metric']}: {with_ends(row, 'value', 'ci', '.3f')}" for row in numbers]
    parts.append(
        "Relative shift: 0 = unchanged, 1 = as far as another image. Intervals: 95 %, of ratios for all augmentations "
        "at once; \\* = significant, likewise. All numbers are in the tables beside this page."
    )
    return "\n\n".join(parts) + "\n"


def ratio_cells(rows: pl.DataFrame) -> Iterator[list[str]]:
    recalls = {row["augmentation"]: row for row in rows.filter(metric="recall@1").iter_rows(named=True)}
    for row in rows.filter(metric=RELATIVE_SHIFT).iter_rows(named=True):
        ratio = with_star(row, "ratio", "ratio", ".2f")
        recall, first_places = recalls.get(row["augmentation"]), ["-", "-"]
        if recall is not None:
            first_places = [_number(recall["reference_mean"], ".3f"), with_star(recall, "difference", "ci", "+.3f")]
        means = [_number(row[name], ".3f") for name in ("reference_mean", "mean")]
        yield [row["augmentation"], *means, ratio, *first_places]


def with_ends(row: Json, value: str, ends: str, form: str) -> str:
    """Formats a number with its interval, which is left out if there is none."""
    low, high = row[f"{ends}_low"], row[f"{ends}_high"]
    interval = "" if low is None or high is None else f" ({low:{form}} to {high:{form}})"
    return _number(row[value], form) + interval


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def with_star(row: Json, value: str, ends: str, form: str) -> str:
    return with_ends(row, value, ends, form) + (" *" if row["significant"] else "")
