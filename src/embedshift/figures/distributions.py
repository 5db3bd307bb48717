"""Figures 4b and 4c: how the values of one metric are spread, augmentation by augmentation."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import gaussian_kde

from embedshift.figures.base import FigureInput, Values, figure
from embedshift.figures.labels import Peak, label_peaks
from embedshift.figures.style import MUTED, human, metric_label, new_figure, number

POINTS = 400
# Widths of the kernel that a curve goes on beyond the outermost value.
_TAIL = 3.0


def density(values: Values, low: float = -np.inf, high: float = np.inf) -> tuple[Values, Values] | None:
    """A Gaussian kernel density estimate (Scott's bandwidth) where the values are: x `[400]` and density `[400]`.

    Args:
        values: Sample `[N]`.
        low: The least value possible; the curve ends there.
        high: The greatest value possible.

    Returns:
        None where there is no density: fewer than two values, or all equal.

    Example:
        >>> density(np.array([1.0, 1.0])) is None
        True
    """
    if len(values) < 2 or np.ptp(values) <= 1e-9 * max(1.0, float(np.abs(values).max())):
        return None
    kernel = gaussian_kde(values)
    tail = _TAIL * float(np.sqrt(kernel.covariance[0, 0]))
    x = np.linspace(max(values.min() - tail, low), min(values.max() + tail, high), POINTS)
    return x, np.asarray(kernel(x))


@figure("l2_density", "04b", "How far embeddings move: density of the L2 distance to the original")
def l2_density(data: FigureInput, title: str) -> Figure:
    """Filled kernel density of the L2 distance per augmentation, named at its peak.

    An augmentation with one value, or with equal ones, has no density: it is a dashed line at its value.
    """
    samples = {name: data.values(name, "l2_distance") for name in data.augmentations}
    curves = {name: density(values, low=0.0) for name, values in samples.items()}
    spikes = {name: values[0] for name, values in samples.items() if len(values) and curves[name] is None}
    note = "Gaussian kernel, Scott's bandwidth" + ("; dashed: all values are equal" if spikes else "")
    figure = new_figure(data.caption(note), 8, 4.3 + 0.12 * max(0, len(samples) - 9), title)
    axes = figure.subplots()
    peaks: list[Peak] = []
    for name, curve in curves.items():
        if curve is not None:
            colour, top = data.colours[name], int(np.argmax(curve[1]))
            axes.fill_between(*curve, color=colour, alpha=0.22, linewidth=0)
            axes.plot(*curve, color=colour, linewidth=1.4, label=name)
            peaks.append(Peak(float(curve[0][top]), float(curve[1][top]), name, colour))
    highest = max((peak.y for peak in peaks), default=1.0)
    for name, value in spikes.items():
        axes.plot([value, value], [0, highest], color=data.colours[name], linewidth=1.4, linestyle="--", label=name)
        peaks.append(Peak(float(value), highest, name, data.colours[name]))
    # Room above the peaks for their names.
    axes.set_ylim(0, highest * (1.12 + 0.01 * len(peaks)))
    axes.set_xlim(left=0)
    axes.set_xlabel(f"{metric_label('l2_distance')}, in the encoder's own units")
    axes.set_ylabel("density, per unit of distance")
    if len(spikes) == len(peaks):
        axes.set_yticks([])
    label_peaks(axes, peaks)
    return figure


@figure("cosine_histogram", "04c", "How far embeddings turn: cosine similarity with the original")
def cosine_histogram(data: FigureInput, title: str) -> Figure:
    """Histogram and kernel density of the cosine similarity per augmentation, mean and sd in the legend.

    One row each on a common axis: nine histograms on top of each other cannot be read. Bins are numpy's "auto".
    """
    note = "bars: histogram; line: Gaussian kernel density; dotted: mean; every row on its own vertical scale"
    height = 0.9 + 0.46 * max(3, len(data.augmentations))
    figure = new_figure(data.caption(note), 8, height, title)
    rows = figure.subplots(len(data.augmentations), sharex=True, squeeze=False)[:, 0]
    lowest = 1.0
    for axes, (name, colour) in zip(rows, data.colours.items(), strict=True):
        values = data.values(name, "cosine_similarity")
        _histogram(axes, values, colour)
        lowest = min(lowest, float(values.min(initial=1.0)))
        mean = float(values.mean()) if len(values) else np.nan
        sd = float(values.std(ddof=1)) if len(values) > 1 else np.nan
        handle = axes.fill_between([], [], color=colour, alpha=0.6, linewidth=0)
        said = f"{human(name)}\nmean {number(mean)}, sd {number(sd)}"
        axes.legend([handle], [said], loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=0.9, borderpad=0)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_ylim(bottom=0)
        axes.tick_params(axis="x", length=3 if axes is rows[-1] else 0)
    room = 0.02 * (1.0 - lowest) or 0.02
    rows[-1].set_xlim(lowest - 2 * room, 1.0 + room)
    rows[-1].set_xlabel(metric_label("cosine_similarity"))
    rows[len(rows) // 2].set_ylabel("density of views")
    return figure


def _histogram(axes: Axes, values: Values, colour: str) -> None:
    curve = density(values, low=-1.0, high=1.0)
    if curve is None:
        if len(values):
            axes.plot([values[0]] * 2, [0, 1], color=colour, linewidth=2)
        return
    axes.hist(values, bins="auto", density=True, color=colour, alpha=0.35, linewidth=0)
    axes.plot(*curve, color=colour, linewidth=1.4)
    axes.axvline(float(values.mean()), color=MUTED, linewidth=1, linestyle=":")
