"""Figure 31: measured chains against their sums; and arrows of changes laid end to end, of `dissect`."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from embedshift.arrays import Values
from embedshift.augmentations.chains import THEN
from embedshift.figures import style
from embedshift.figures.base import FigureInput, figure, has_table
from embedshift.figures.style import FAINT, INK, MUTED, PALETTE, new_figure, verbatim

# Batches that are drawn, and of them in a row.
MOST, COLUMNS = 12, 3


def places_of(products: Values) -> Values:
    """Returns arrows in a plane with nearly the given products, `[k, 2]`; the last points to the right."""
    values, axes = np.linalg.eigh(products)
    arrows = axes[:, ::-1][:, :2] * np.sqrt(np.maximum(values[::-1][:2], 0.0))
    arrows = np.pad(arrows, ((0, 0), (0, 2 - arrows.shape[1])))
    across, up = arrows[-1] / max(float(np.linalg.norm(arrows[-1])), 1e-12)
    return np.asarray(arrows @ np.array([[across, -up], [up, across]]))


def draw_arrows(batches: Mapping[str, tuple[Sequence[str], Values]]) -> Figure:
    """Draws the mean shift of each batch, the shifts of its parts end to end, and the remainder.

    Args:
        batches: Name → names of parts, and the products of their arrows and, last, of the mean shift, `[k + 1, k + 1]`.
    """
    shown = {name: own for name, own in batches.items() if len(own[1])}
    with style.context():
        notes = (
            "colours: mean shifts of single changes, times coefficients · black: mean shift of the copies · dotted: "
        )
        notes += "the remainder · all in the plane that shows most of them"
        rows, columns = max(1, -(-min(len(shown), MOST) // COLUMNS)), max(1, min(COLUMNS, len(shown)))
        figure = new_figure(notes, 3.4 * columns, 2.4 * rows, "Which changes made the copies?")
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, (name, (parts, products)) in zip(grid.flat, shown.items(), strict=False):
            _draw(axes, name, parts, places_of(products))
        return figure


def _draw(axes: Axes, name: str, parts: Sequence[str], arrows: Values) -> None:
    ends = np.vstack([np.zeros(2), np.cumsum(arrows[:-1], axis=0)])
    lines = [*zip(ends, ends[1:], map(verbatim, parts), PALETTE, strict=False), (ends[0], arrows[-1], "copies", INK)]
    for start, end, words, colour in lines:
        form = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.8, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", end, start, arrowprops=form)
        axes.plot([], [], color=colour, label=words)
    axes.plot(*zip(ends[-1], arrows[-1], strict=True), ":", color=MUTED, linewidth=1.4)
    corners = np.vstack([ends, arrows[-1]])
    axes.set_aspect("equal", adjustable="datalim")
    axes.update_datalim(corners)
    axes.autoscale_view()
    axes.margins(0.12)
    axes.set_title(verbatim(name), loc="left", fontsize=8)
    axes.legend(loc="upper left", bbox_to_anchor=(0, 0), ncols=2, fontsize=7, frameon=False, borderpad=0)


@figure("chains", section=True, is_available=has_table("chains"))
def chains(data: FigureInput, title: str) -> Figure:
    table = data.need("chains").drop_nulls("predicted").sort("relative_shift", maintain_order=True)
    words = "grey: the parts added up · colour: the chain itself, with its 95 % interval"
    drawn = new_figure(data.caption(words), 7.5, 1.4 + 0.22 * len(table), title)
    axes = drawn.subplots()
    places = np.arange(len(table))
    shifts = table.select("relative_shift", "relative_shift_low", "relative_shift_high").to_numpy()
    value, low, high = np.where(np.isnan(shifts), shifts[:, :1], shifts).T
    axes.hlines(places, value, table["predicted"], color=FAINT, linewidth=3)
    axes.plot(table["predicted"], places, "|", color=MUTED, markersize=9)
    axes.errorbar(value, places, xerr=[value - low, high - value], fmt="o", color=PALETTE[0], markersize=4, linewidth=1)
    axes.set_yticks(places, [verbatim(name.replace(THEN, " → ")) for name in table["chain"]])
    axes.set_xlim(left=0)
    axes.set_xlabel("relative shift")
    return drawn
