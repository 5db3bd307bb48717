"""Places names next to their points without overlaps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from embedshift.arrays import Values
from embedshift.figures.style import halo, human, readable

# What a pixel holds. A name on a line is worth moving it by so many pixels, a name on a name never happens while there
# is room.
_LINE, _NAME = 1, 2
_COST = np.array([0.0, 250.0, 1e9])


@dataclass(frozen=True)
class Peak:
    """A point of a figure, in data coordinates, and its name."""

    x: float
    y: float
    name: str
    colour: str


def label_peaks(axes: Axes, peaks: Sequence[Peak]) -> None:
    """Writes each name as near above its point as possible: inside the axes, on no other name, and best on no line."""
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    frame = axes.get_window_extent()
    ink = np.zeros((int(frame.height), int(frame.width)), np.uint8)
    for line in axes.lines:
        _trace(ink, axes.transData.transform(line.get_xydata()) - frame.p0)
    for peak in sorted(peaks, key=lambda p: -p.y):
        words = axes.text(
            0, 0, human(peak.name), color=readable(peak.colour), fontweight="bold", ha="center", va="center",
            transform=axes.transAxes, path_effects=halo(), zorder=6,
        )  # fmt: skip
        box = words.get_window_extent()
        half = np.array([int(box.width / 2) + 3, int(box.height / 2) + 2])
        point = np.asarray(axes.transData.transform((peak.x, peak.y))) - frame.p0
        wanted = point + np.array([0, half[1] + 2])
        centre = _free(ink, wanted, half)
        low, high = np.maximum(centre - half, 0), centre + half
        ink[low[1] : high[1] + 1, low[0] : high[0] + 1] = _NAME
        to_axes = 1 / np.array([frame.width, frame.height])
        words.set_position((float(centre[0] * to_axes[0]), float(centre[1] * to_axes[1])))
        if np.hypot(*(centre - wanted)) > 1.5 * half[1]:
            foot = np.clip(point, low, high)
            axes.annotate(
                "", (peak.x, peak.y), xytext=tuple(foot * to_axes), textcoords="axes fraction", zorder=5,
                arrowprops={"arrowstyle": "-", "color": peak.colour, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 0},
            )  # fmt: skip
            axes.plot(peak.x, peak.y, marker="o", markersize=2.5, color=peak.colour, zorder=5, gid="foot")
            _trace(ink, np.array([foot, point]))


def _trace(ink: NDArray[np.uint8], path: Values) -> None:
    """Marks the pixels under a path `[N, 2]`, where no name may be."""
    dense = np.linspace(0, len(path) - 1, 2 * sum(ink.shape))
    x, y = (np.interp(dense, np.arange(len(path)), path[:, k]).round().astype(int) for k in (0, 1))
    inside = (x >= 0) & (y >= 0) & (x < ink.shape[1]) & (y < ink.shape[0])
    ink[y[inside], x[inside]] = np.maximum(ink[y[inside], x[inside]], _LINE)


def _free(ink: NDArray[np.uint8], wanted: Values, half: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the best centre in pixels of a box with half size `half`: near `wanted` and on little ink."""
    under = maximum_filter(ink, size=(2 * half[1] + 1, 2 * half[0] + 1))
    y, x = np.mgrid[: ink.shape[0], : ink.shape[1]]
    start = np.clip(wanted, half, np.maximum(np.array(ink.shape[::-1]) - half, half))
    # Above a peak a name is clear of its own curve.
    down = np.maximum(start[1] - y, 0)
    cost = np.hypot(x - start[0], y - start[1]) + 3.0 * down + _COST[under]
    outside = (x < half[0]) | (x >= ink.shape[1] - half[0]) | (y < half[1]) | (y >= ink.shape[0] - half[1])
    row, column = np.unravel_index(int(np.argmin(np.where(outside, cost + 1e12, cost))), cost.shape)
    return np.array([column, row])
