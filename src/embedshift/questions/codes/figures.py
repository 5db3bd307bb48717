"""Figure 30: bytes of a vector against recall@1, a line a change."""

import polars as pl
from matplotlib.figure import Figure

from embedshift.config import Json
from embedshift.figures.base import FigureInput, figure, has_table
from embedshift.figures.style import FAINT, INK, MUTED, human, new_figure, readable
from embedshift.questions.codes.coded import INDEXES, recommended, verdicts
from embedshift.statistics.equivalence import RECALL

# Changes that are named in the legend.
NAMED = 10


@figure("codes", section=True, is_available=has_table("codes"))
def codes(data: FigureInput, title: str) -> Figure:
    table, best = data.table("codes"), recommended(verdicts(data.need("codes")))
    assert table is not None
    rows = table.filter(metric=RECALL).drop_nulls("value")
    rows = rows.filter(~pl.col("code").str.starts_with(INDEXES[0]) & ~pl.col("code").str.starts_with(INDEXES[1]))
    order = rows.group_by("augmentation").agg(pl.col("value").min()).sort("value", "augmentation")["augmentation"]
    notes = ["a dot: one code and change; a line: the least bytes for as much"]
    drawn = new_figure(data.caption(*notes), 7.5, 4.2, title)
    axes = drawn.subplots()
    for place, name in enumerate(order):
        part = rows.filter(augmentation=name)
        colour = readable(data.colours.get(name, MUTED))
        best_of_size = part.group_by("bytes_searched").agg(pl.col("value").max()).sort("bytes_searched")
        best_yet = best_of_size.with_columns(pl.col("value").cum_max())
        label = human(name) if place < NAMED else None
        axes.plot(best_yet["bytes_searched"], best_yet["value"], color=colour, linewidth=1.1, label=label)
        axes.plot(part["bytes_searched"], part["value"], "o", color=colour, markersize=3)
    if best is not None:
        axes.axvline(best.searched, color=INK, linewidth=1, linestyle="--")
        at: Json = {"xycoords": ("data", "axes fraction"), "xytext": (3, -9), "textcoords": "offset points"}
        axes.annotate(best.code, (best.searched, 1), **at)
    axes.set_xscale("log", base=2)
    axes.grid(color=FAINT)
    axes.set_xlabel("bytes of a vector that a search reads")
    axes.set_ylabel("recall@1")
    if len(order):
        drawn.legend(loc="outside right upper")
    return drawn
