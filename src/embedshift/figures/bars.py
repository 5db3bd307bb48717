"""Figures 6, 7, 8b and that of the texts: means side by side."""

import numpy as np
from matplotlib.figure import Figure

from embedshift.errors import EmbedshiftError
from embedshift.figures.base import FigureInput, Values, figure
from embedshift.figures.style import INK, halo, human, metric_label, new_figure, number
from embedshift.metrics import METRICS

TEXT_AXES = {
    "text_alignment_shift": "mean change of the cosine with the caption",
    "zero_shot_flip": "share of views that change class",
}


def span(means: Values) -> tuple[float, float]:
    """From 0, or the least mean where it is negative, to 1: bars that start elsewhere exaggerate.

    Example:
        >>> span(np.array([0.5, np.nan]))
        (0.0, 1.0)
    """
    return min(0.0, float(np.nanmin(means, initial=0.0))), 1.0


@figure("profile", "06", "Profile of every augmentation, from least to most changed")
def profile(data: FigureInput, title: str) -> Figure:
    """Five bars per augmentation, in the order of the ranking; "best" where no augmentation changes a metric less."""
    metrics, means = data.performance()
    note = "means; average over the metrics shown; best: no augmentation changes this metric less"
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
        for position, value, best in zip(positions, values, values >= np.nanmax(means, axis=1), strict=True):
            words = f" {number(value)}" + ("  best" if best else "")
            start = 0.0 if np.isnan(value) else max(value, 0.0)
            axes.text(start, position, words, va="center", fontsize=7, fontweight="bold" if best else "normal")
        rank, average = ranked[name]
        said = f"rank {rank} of {len(names)}, average {number(np.nan if average is None else average)}"
        axes.set_title(f"{human(name)}\n{said}", fontsize=8)
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


@figure("l2_bars", "07", "Mean L2 distance from the original embedding")
def l2_bars(data: FigureInput, title: str) -> Figure:
    """Mean L2 distance per augmentation, the largest first, with a whisker of one sd to either side."""
    means, sds = data.statistic("mean", "l2_distance"), data.statistic("sd", "l2_distance")
    order = np.argsort(-np.nan_to_num(means, nan=-1.0), kind="stable")
    names = [data.augmentations[index] for index in order]
    means, sds = means[order], np.nan_to_num(sds[order])
    note = "bar: mean; whisker: one standard deviation to either side"
    figure = new_figure(data.caption(note), 7, 0.9 + 0.3 * len(names), title)
    axes = figure.subplots()
    positions = np.arange(len(names))
    axes.barh(positions, means, color=[data.colours[name] for name in names], height=0.7)
    whiskers = axes.errorbar(means, positions, xerr=sds, fmt="none", ecolor=INK, elinewidth=1, capsize=3)
    for part in (*whiskers[1], *whiskers[2]):
        part.set_path_effects(halo())
    longest = float(np.nanmax(means + sds, initial=0.0)) or 1.0
    for position, mean, sd in zip(positions, means, sds, strict=True):
        end = 0.0 if np.isnan(mean) else mean + sd
        axes.text(
            float(end) + 0.012 * longest, float(position), "n/a" if np.isnan(mean) else f"{mean:.3g}", va="center"
        )
    axes.set_yticks(positions, [human(name) for name in names])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, longest * 1.12)
    axes.set_xlabel(f"mean {metric_label('l2_distance')}, in the encoder's own units")
    return figure


@figure("metric_bars", "08b", "Every metric, every augmentation, and the average of each metric")
def metric_bars(data: FigureInput, title: str) -> Figure:
    """A row of bars per augmentation in suite order, one column per metric, dashed at the metric's average.

    The paper draws a row's bars below each other in one panel, where the averages of the metrics hide each other.
    """
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
        axes.set_title(f"{METRICS[metric].label}\naverage {number(average)}", fontsize=8)
        axes.tick_params(axis="y", length=0)
        axes.set_xticks([0, 0.5, 1])
    panels[0].set_yticks(positions, [human(name) for name in data.augmentations])
    panels[0].set_ylim(len(positions) - 0.4, -0.6)
    panels[0].set_xlim(low * 1.05, high + 0.3 * (high - low))
    panels[len(panels) // 2].set_xlabel("mean (1 = no change)")
    return figure


@figure("text", "12", "Does the picture still match its words?", needs="text_metrics")
def text(data: FigureInput, title: str) -> Figure:
    """A panel per text metric: its mean under every augmentation, and the 95 % interval of the mean."""
    metrics = data.text_metrics
    if metrics is None:
        raise EmbedshiftError("the study has no text; run it with --text or --labels", exit_code=2)
    note = "dot: mean; whisker: 95 % interval of the mean (bootstrap over images); dashed: no change"
    height = 1.0 + 0.28 * len(data.augmentations)
    figure = new_figure(data.caption(note), 3.0 * len(metrics) + 1.6, height, title)
    positions = np.arange(len(data.augmentations))
    for axes, metric in zip(figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0], metrics, strict=True):
        mean, low, high = (data.statistic(name, metric) for name in ("mean", "ci_low", "ci_high"))
        axes.axvline(METRICS[metric].no_change, color=INK, linewidth=1, linestyle="--")
        axes.hlines(positions, low, high, colors=list(data.colours.values()), linewidth=2)
        axes.scatter(mean, positions, color=list(data.colours.values()), s=26, zorder=3)
        axes.set_title(METRICS[metric].label)
        axes.set_xlabel(TEXT_AXES[metric])
        axes.tick_params(axis="y", length=0)
        axes.set_yticks(positions, [human(name) for name in data.augmentations])
        axes.set_ylim(len(positions) - 0.4, -0.6)
        axes.margins(x=0.08)
        axes.locator_params(axis="x", nbins=5)
    return figure
