"""Figure 23: the blocks at which a shift enters."""

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from embedshift.arrays import Values
from embedshift.errors import UsageError
from embedshift.figures.base import FigureInput, figure, has_table
from embedshift.figures.matrix import colour_bar
from embedshift.figures.style import FAINT, INK, MUTED, human, new_figure
from embedshift.questions.heads.contributions import COLOURS, furthest_first
from embedshift.questions.heads.route import ABSOLUTE, PATTERN, routed
from embedshift.report.numbers import count
from embedshift.statistics.summary import COSINE

# Inches of a row, and of a block.
ROW, BLOCK = 0.26, 0.3


@figure("heads_depth", section=True, is_available=has_table("head_route"))
def heads_depth(data: FigureInput, title: str) -> Figure:
    """One row per augmentation, the furthest on top: one cell per block at the left, the absolute sums at the right."""
    table = data.table("head_route")
    if table is None:
        raise UsageError("the study has no route; run it with `heads_detail` route")
    names = furthest_first(data.augmentations, 1 - data.statistic("mean", COSINE))
    ways = {name: _way(table, name) for name in names}
    names = [name for name in names if np.isfinite(ways[name][0]).any()] or names[:1]
    columns = _columns(table)
    contributions, absolute = np.stack([ways[name][0] for name in names]), np.array([ways[name][1] for name in names])
    notes = ["cell: fraction of the shift from changed attention weights of the block"]
    if (followed := len(routed(data.rows))) < data.images:
        notes.insert(0, f"of {count(followed, 'image')} drawn by the seed")
    notes.append("bar: sum of absolute terms; the further above 1, the more terms cancel")
    width = BLOCK * len(columns)
    drawn = new_figure(data.caption(*notes), width + 5.0, ROW * len(names) + 1.5, title)
    left, right = drawn.subplots(1, 2, sharey=True, width_ratios=(width, 1.6))
    end = float(np.nanmax(np.abs(contributions), initial=0.0)) or 1.0
    edges = np.arange(len(columns) + 1), np.arange(len(names) + 1) - 0.5
    look = {"cmap": COLOURS, "vmin": -end, "vmax": end, "edgecolors": "white", "linewidth": 0.3}
    mesh = left.pcolormesh(*edges, contributions, **look)
    step = -(-len(columns) // 12)
    shown = [place for place, words in enumerate(columns) if not words.isdigit() or (int(words) - 1) % step == 0]
    left.set_xticks([place + 0.5 for place in shown], [columns[place] for place in shown], rotation=90)
    left.set_yticks(range(len(names)), [human(name) for name in names])
    left.set(xlabel="block", ylim=(len(names) - 0.5, -0.5), facecolor=FAINT)
    left.tick_params(length=0)
    left.spines[:].set_visible(False)
    right.barh(range(len(names)), np.nan_to_num(absolute), height=0.7, color=MUTED)
    right.axvline(1, color=INK, linewidth=0.8)
    right.set_xlabel("absolute sum")
    right.tick_params(axis="y", length=0)
    right.grid(axis="x")
    colour_bar(drawn, mesh, right, "fraction of the shift")
    return drawn


def _columns(table: pl.DataFrame) -> list[str]:
    """Returns the names of the columns: the input, the blocks, and the pooling head if there is one."""
    blocks = [str(layer) for layer in table.filter(part=PATTERN)["layer"].unique().sort()]
    return ["input", *blocks, *(["pooling"] if _pools(table) else [])]


def _pools(table: pl.DataFrame) -> bool:
    return bool((table.filter(part="pooling")["contribution"].fill_null(0.0) != 0).any())


def _way(table: pl.DataFrame, name: str) -> tuple[Values, float]:
    """Returns one augmentation's contributions in the order of the columns, and its absolute sum; NaN if there are none."""
    own = table.filter(augmentation=name).with_columns(pl.col("contribution").fill_null(np.nan))
    single = dict(own.filter(layer=0).select("part", "contribution").iter_rows())
    blocks = own.filter(part=PATTERN).sort("layer")["contribution"].to_list()
    pooling = [single["pooling"]] if _pools(table) else []
    return np.array([single["input"], *blocks, *pooling]), single[ABSOLUTE]
