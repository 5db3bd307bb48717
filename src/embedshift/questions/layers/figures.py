"""The figure of shift by depth: after which blocks of the encoder an augmentation acts."""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from embedshift.errors import UsageError
from embedshift.figures.base import FigureInput, figure, has_table
from embedshift.figures.style import human, new_figure
from embedshift.questions.layers import UNMOVED

TOKEN_WORDS = {"cls": "class token", "patches": "mean patch token"}
PANELS = {"cosine_similarity": "1 − mean cosine similarity", "cka": "linear CKA"}


@figure("depth", section=True, is_available=has_table("layers"))
def depth(data: FigureInput, title: str) -> Figure:
    table = data.table("layers")
    if table is None:
        raise UsageError("this study has no layers; run it with `layers`")
    table = table.filter(pl.col("metric").is_in([*PANELS]))
    tokens = [token for token in TOKEN_WORDS if token in table["token"]]
    measured = table.drop_nulls("mean")["metric"].unique()
    metrics = [metric for metric in PANELS if metric in measured or metric == "cosine_similarity"]
    notes = [f"1 − cosine: 0 = no change, logarithmic axis, values up to {UNMOVED:.6f} at its lower end"]
    notes += ["CKA: 1 = no change"] if "cka" in metrics else []
    notes += ["band: 95 % interval"] if table["ci_low"].count() else []
    width, height = 3.4 * len(tokens) + 2.0, max(2.2 * len(metrics) + 0.4, 0.9 + 0.17 * len(data.augmentations))
    figure = new_figure(data.caption(*notes), width, height, title)
    grid = figure.subplots(len(metrics), len(tokens), sharex=True, sharey="row", squeeze=False)
    for row, metric in zip(grid, metrics, strict=True):
        for axes, token in zip(row, tokens, strict=True):
            _lines(axes, data, table.filter(pl.col("token") == token, pl.col("metric") == metric))
        if metric == "cosine_similarity":
            _logarithmic(row[0])
        row[0].set_ylabel(PANELS[metric])
    for axes, token in zip(grid[0], tokens, strict=True):
        axes.set_title(TOKEN_WORDS[token])
    for axes in grid[-1]:
        axes.set_xlabel("block, from the first to the last")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, min_n_ticks=1))
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside right upper")
    return figure


def _lines(axes: Axes, data: FigureInput, table: pl.DataFrame) -> None:
    for name, colour in data.colours.items():
        part = table.filter(pl.col("augmentation") == name).sort("layer")
        mean, low, high = (part[column].to_numpy().astype(np.float64) for column in ("mean", "ci_low", "ci_high"))
        if "cosine_similarity" in part["metric"]:
            mean, low, high = (np.maximum(1 - cosine, UNMOVED) for cosine in (mean, high, low))
        axes.fill_between(part["layer"], low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(part["layer"], mean, color=colour, linewidth=1.4, marker=".", markersize=4, label=human(name))
    axes.grid(axis="y")


def _logarithmic(axes: Axes) -> None:
    """Sets a logarithmic axis of changes; if something did not move, its lower end is `UNMOVED`."""
    axes.set_yscale("log")
    low, high = axes.dataLim.intervaly
    if low <= UNMOVED:
        axes.set_ylim(UNMOVED, max(2 * high, 10 * UNMOVED))
