"""Figures 6 and 8b: means side by side."""

import numpy as np
from matplotlib.figure import Figure

from embedshift.arrays import Values
from embedshift.figures.base import FigureInput, few, figure
from embedshift.figures.style import INK, human, new_figure, number
from embedshift.registry import METRICS
from embedshift.statistics.differences import ordered


def span(means: Values) -> tuple[float, float]:
    """Returns the range of bars: from 0, or the least mean if negative, to 1; other ranges would exaggerate."""
    return min(0.0, float(np.nanmin(means, initial=0.0))), 1.0


def least_changed(data: FigureInput, metric: str) -> str | None:
    """Returns the augmentation that changes a metric less than every other, if the pairs settle it."""
    table = data.table("differences")
    least = [] if table is None else ordered(table, metric, data.augmentations).least
    return least[0] if len(least) == 1 else None


@figure("profile", is_available=few)
def profile(data: FigureInput, title: str) -> Figure:
    """Five bars per augmentation, in the order of the ranking; "best" marks a metric that all others change more."""
    metrics, means = data.performance()
    note = "means; average over the metrics shown; best: all others change this metric significantly more (paired)"
    best = [least_changed(data, metric) for metric in metrics]
    ranked = dict(
        zip(data.ranking["augmentation"], data.ranking.select("rank", "mean_performance").rows(), strict=True)
    )
    names = data.by_rank()
    columns = min(len(names), 3 if len(names) <= 9 else 4)
    rows = -(-len(names) // columns)
    figure = new_figure(data.caption_of_means(note), 2.5 * columns + 1.2, 1.5 * rows + 0.4, title)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    low, high = span(means)
    for axes, name in zip(grid.flat, names, strict=False):
        values = means[:, data.augmentations.index(name)]
        positions = np.arange(len(metrics))
        axes.barh(positions, values, color=data.colours[name], height=0.72)
        for position, value, first in zip(positions, values, best, strict=True):
            words = f" {number(value)}" + ("  best" if first == name else "")
            start = 0.0 if np.isnan(value) else max(value, 0.0)
            axes.text(start, position, words, va="center", fontsize=7, fontweight="bold" if first == name else "normal")
        rank, average = ranked[name]
        subtitle = f"rank {rank} of {len(names)}, average {number(np.nan if average is None else average)}"
        axes.set_title(f"{human(name)}\n{subtitle}", fontsize=8, y=1)
        axes.set_yticks(positions, [METRICS[metric].label for metric in metrics])
        axes.set_ylim(len(metrics) - 0.4, -0.6)
        axes.set_xlim(low * 1.05, high + 0.42 * (high - low))
        axes.set_xticks([0, 0.5, 1])
        axes.tick_params(axis="y", length=0)
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    for column in range(columns):
        lowest = grid[(len(names) - 1 - column) // columns, column]
        lowest.set_xlabel("mean (1 = no change)")
        lowest.tick_params(axis="x", labelbottom=True)
    return figure


@figure("metric_bars")
def metric_bars(data: FigureInput, title: str) -> Figure:
    """One row of bars per augmentation in suite order, one column per metric, dashed at the metric's average."""
    metrics, means = data.performance()
    note = "means; dashed: average over the augmentations"
    height = 1.0 + 0.28 * len(data.augmentations)
    figure = new_figure(data.caption_of_means(note), 1.75 * len(metrics) + 1.6, height, title)
    panels = figure.subplots(1, len(metrics), sharex=True, sharey=True, squeeze=False)[0]
    positions = np.arange(len(data.augmentations))
    low, high = span(means)
    for axes, metric, values in zip(panels, metrics, means, strict=True):
        axes.barh(positions, values, color=list(data.colours.values()), height=0.72)
        average = float(np.nanmean(values))
        axes.axvline(average, color="white", linewidth=1.8)
        axes.axvline(average, color=INK, linewidth=1, linestyle="--")
        for position, value in zip(positions, values, strict=True):
            axes.text(high + 0.05 * (high - low), position, number(value), va="center", fontsize=7)
        axes.set_title(f"{METRICS[metric].label}\naverage {number(average)}", fontsize=8, y=1)
        axes.tick_params(axis="y", length=0)
        axes.set_xticks([0, 0.5, 1])
    panels[0].set_yticks(positions, [human(name) for name in data.augmentations])
    panels[0].set_ylim(len(positions) - 0.4, -0.6)
    panels[0].set_xlim(low * 1.05, high + 0.3 * (high - low))
    panels[len(panels) // 2].set_xlabel("mean (1 = no change)")
    return figure
