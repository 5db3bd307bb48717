"""Figures 3, 5, 6 and 8b: the profile of every augmentation over the similarities of the paper."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.projections.polar import PolarAxes

from embedshift.arrays import Values
from embedshift.figures.base import FigureInput, few, figure
from embedshift.figures.shared import annotation, cells, colour_bar, column_width, name_rows
from embedshift.figures.style import FAINT, INK, MUTED, column_names, human, new_figure, number, readable, wrap
from embedshift.registry import METRICS
from embedshift.statistics.summary import ordered


@figure("heatmap")
def heatmap(data: FigureInput, title: str) -> Figure:
    metrics, means = data.performance()
    names = data.by_rank()
    values = means[:, [data.augmentations.index(name) for name in names]]
    inches = column_width(len(names))
    height = 0.42 * len(metrics) + column_names(names, inches)[2] + 1.2
    figure = new_figure(data.caption_of_means("means"), inches * len(names) + 2.3, height, title)
    axes = figure.subplots()
    rows = [METRICS[metric].label for metric in metrics]
    mesh = cells(axes, values, rows, names, inches, **annotation(len(names)))
    average = dict(data.ranking.select("augmentation", "mean_performance").iter_rows())
    above = axes.secondary_xaxis("top")
    digits = 3 if len(names) <= 12 else 2
    shown = ["n/a" if average[name] is None else f"{average[name]:.{digits}f}" for name in names]
    above.set_xticks(np.arange(len(names)) + 0.5, shown, fontsize=8 if len(names) <= 12 else 7, fontweight="bold")
    above.tick_params(length=0)
    above.spines["top"].set_visible(False)
    above.set_xlabel("mean performance", loc="left")
    colour_bar(figure, mesh, axes, "mean (1 = no change)")
    return figure


def closed(values: Values) -> Values:
    return np.append(values, values[:1])


@figure("radar", is_available=lambda data: few(data) and len(data.performance()[0]) > 2)
def radar(data: FigureInput, title: str) -> Figure:
    metrics, means = data.performance()
    count = len(data.augmentations)
    columns = min(count, 3 if count <= 9 else 4)
    rows = -(-count // columns)
    # The radius starts a tenth below the least mean, so that its point is not at the centre.
    low = float(np.round(np.floor(np.nanmin(means, initial=1.0) * 10 - 1e-9) / 10 - 0.1, 1))
    note = f"means; 1 (rim) = no change, centre = {low:g}; grey band: from the worst to the best augmentation"
    figure = new_figure(data.caption_of_means(note), 3.0 * columns, 2.35 * rows + 0.4, title)
    layout = figure.get_layout_engine()
    assert isinstance(layout, ConstrainedLayoutEngine)
    layout.set(w_pad=0.12)
    grid = figure.subplots(rows, columns, squeeze=False, subplot_kw={"projection": "polar"})
    angles = closed(np.linspace(0, 2 * np.pi, len(metrics), endpoint=False))
    worst, best = closed(np.nanmin(means, axis=1)), closed(np.nanmax(means, axis=1))
    for axes, (name, colour), values in zip(grid.flat, data.colours.items(), means.T, strict=False):
        axes.fill_between(angles, worst, best, color=FAINT, linewidth=0, zorder=1)
        if not np.isnan(values).any():
            axes.fill(angles, closed(values), color=colour, alpha=0.15, linewidth=0, zorder=1.2)
        axes.plot(angles, closed(values), color=colour, linewidth=1.6, marker="o", markersize=3, zorder=3)
        axes.set_title(wrap(human(name), 2.3, 9, bold=True), loc="center", color=readable(colour), pad=8)
        _style_axes(axes, metrics, low)
    for axes in grid.flat[count:]:
        axes.set_axis_off()
    return figure


def _style_axes(axes: PolarAxes, metrics: Sequence[str], low: float) -> None:
    angles = np.linspace(0, 2 * np.pi, len(metrics), endpoint=False)
    axes.set_theta_offset(np.pi / 2)
    axes.set_theta_direction(-1)
    axes.set_axisbelow("line")
    axes.set_xticks(angles, [wrap(METRICS[metric].label, 0.7, 7) for metric in metrics], fontsize=7)
    axes.tick_params(axis="x", pad=2)
    for label, angle in zip(axes.get_xticklabels(), angles, strict=True):
        side = np.sin(angle)
        label.set_horizontalalignment("center" if abs(side) < 0.1 else "left" if side > 0 else "right")
    axes.set_rlim(low, 1)
    step = next(step for step in (0.1, 0.2, 0.5, 1.0) if (1 - low) / step <= 4.5)
    rings = np.arange(1, low + 1e-9, -step)[::-1]
    axes.set_rgrids(rings, [f"{ring:.1f}" for ring in rings], fontsize=6, color=MUTED, angle=180 / len(metrics))
    axes.grid(color="#c9c9c9")
    axes.spines["polar"].set_color(MUTED)


def span(means: Values) -> tuple[float, float]:
    """Returns the range of bars: from 0, or the least mean if negative, to 1; other ranges would exaggerate."""
    return min(0.0, float(np.nanmin(means, initial=0.0))), 1.0


def least_changed(data: FigureInput, metric: str) -> str | None:
    table = data.table("differences")
    least = [] if table is None else ordered(table, metric, data.augmentations).least
    return least[0] if len(least) == 1 else None


@figure("profile", is_available=few)
def profile(data: FigureInput, title: str) -> Figure:
    """Five bars per augmentation, in the order of the ranking; "best" marks a metric that all others change more."""
    metrics, means = data.performance()
    note = "means; average over the metrics shown; best: all others change this metric significantly more (paired)"
    best = [least_changed(data, metric) for metric in metrics]
    ranked = {name: place for name, *place in data.ranking.select("augmentation", "rank", "mean_performance").rows()}
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
        name_rows(axes, [METRICS[metric].label for metric in metrics])
        axes.set_xlim(low * 1.05, high + 0.42 * (high - low))
        axes.set_xticks([0, 0.5, 1])
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    for column in range(columns):
        lowest = grid[(len(names) - 1 - column) // columns, column]
        lowest.set_xlabel("mean (1 = no change)")
        lowest.tick_params(axis="x", labelbottom=True)
    return figure


@figure("metric_bars")
def metric_bars(data: FigureInput, title: str) -> Figure:
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
    name_rows(panels[0], [human(name) for name in data.augmentations])
    panels[0].set_xlim(low * 1.05, high + 0.3 * (high - low))
    panels[len(panels) // 2].set_xlabel("mean (1 = no change)")
    return figure
