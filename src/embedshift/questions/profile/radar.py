"""Figure 5: the profile of every augmentation between the best and the worst of all."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.projections.polar import PolarAxes

from embedshift.arrays import Values
from embedshift.figures.base import FigureInput, few, figure
from embedshift.figures.style import FAINT, MUTED, human, new_figure, readable, wrap
from embedshift.registry import METRICS


def closed(values: Values) -> Values:
    """Returns the values with the first one repeated at the end, to close a line around a circle."""
    return np.append(values, values[:1])


def innermost(means: Values) -> float:
    """Returns the start of the radius: the tenth below the least mean, so that its point is not at the centre."""
    return float(np.round(np.floor(np.nanmin(means, initial=1.0) * 10 - 1e-9) / 10 - 0.1, 1))


@figure("radar", is_available=lambda data: few(data) and len(data.performance()[0]) > 2)
def radar(data: FigureInput, title: str) -> Figure:
    """One radar per augmentation over the radar metrics; a grey band reaches from the worst to the best of all."""
    metrics, means = data.performance()
    count = len(data.augmentations)
    columns = min(count, 3 if count <= 9 else 4)
    rows = -(-count // columns)
    low = innermost(means)
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
    """Puts the first metric at the top, the others clockwise; grid lines above the band and below the profile."""
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
