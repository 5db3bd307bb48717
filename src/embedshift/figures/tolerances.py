"""Tolerances among the levels of their families: a dot with its interval, for one encoder or several."""

import numpy as np
from matplotlib.axes import Axes

from embedshift.figures.style import FAINT
from embedshift.statistics.strengths import MeasuredFamily


def level_position(family: MeasuredFamily, value: float | None) -> float:
    """Returns the position of a strength among the levels of its family; infinite for None."""
    return np.inf if value is None else float(family.levels_at(value))


def mark(
    axes: Axes, row: float, family: MeasuredFamily, ends: tuple[float | None, float | None, float | None], colour: str
) -> None:
    """Draws one tolerance; its line goes to the strongest level if its end lies beyond; an open dot = not reached."""
    value, *interval = (level_position(family, end) for end in ends)
    strongest = float(len(family.views))
    if np.isfinite(interval).any():
        axes.hlines(row, min(interval), min(max(interval), strongest), color=colour, linewidth=1.4, zorder=2)
    face = colour if np.isfinite(value) else "white"
    position = min(value, strongest)
    axes.scatter(position, row, s=26, facecolors=face, edgecolors=colour, zorder=3, clip_on=False)


def level_axis(axes: Axes, rows: list[str], last: int) -> None:
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.5, -0.6)
    axes.set_xlim(-0.05, last + 0.05)
    axes.set_xticks(range(last + 1))
    axes.grid(axis="x", color=FAINT)
    axes.set_xlabel("level of the family (0 = unchanged)")
