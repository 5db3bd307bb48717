"""The ruler: every augmentation on a scale from the unchanged image to another one."""

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from embedshift.errors import EmbedshiftError
from embedshift.figures import scale
from embedshift.figures.base import FigureInput, figure
from embedshift.figures.style import INK, MUTED, human, new_figure, number
from embedshift.statistics.intervals import LEAST_IMAGES
from embedshift.statistics.summary import COSINE


def has_relative_shift(data: FigureInput) -> bool:
    """Returns whether different images give a scale."""
    return bool(np.isfinite(data.statistic("relative_shift", COSINE)).any())


def has_ruler(data: FigureInput) -> bool:
    """Returns whether there is a scale, and augmentations are not selected levels near one relative shift."""
    return has_relative_shift(data) and not data.shows_one_level


@figure(
    "ruler",
    section=True,
    is_available=has_ruler,
)
def ruler(data: FigureInput, title: str) -> Figure:
    """One dot per augmentation with its interval, the furthest on top; lines at 0, the nearest other image, and 1."""
    if not has_relative_shift(data):
        raise EmbedshiftError(
            "figure 'ruler': this study has no relative shift: too few images, or all as similar as equal ones"
        )
    relative_shift, low, high = (
        data.statistic(name, COSINE) for name in ("relative_shift", "relative_shift_low", "relative_shift_high")
    )
    order = np.argsort(-np.nan_to_num(relative_shift, nan=-np.inf), kind="stable")
    names = [data.augmentations[index] for index in order]
    note = f"dot: mean relative shift; line: 95 % interval (bootstrap over {data.unit}s)"
    if data.units < LEAST_IMAGES:
        note = f"dot: mean relative shift; no interval below {LEAST_IMAGES} {data.unit}s"
    drawn = new_figure(data.caption(note), 7.5, 1.6 + 0.27 * len(names), title)
    axes = drawn.subplots()
    for position, lines in scale.marks(nearest(data), scale.nearest_of(data.images)).items():
        axes.axvline(position, color=MUTED, linewidth=0.9, linestyle="--", zorder=1)
        axes.annotate(
            "\n".join(lines), (position, 1), xytext=(0, 3), xycoords=("data", "axes fraction"),
            textcoords="offset points", ha="center", va="bottom", color=MUTED, fontsize=7,
        )  # fmt: skip
    rows = np.arange(len(names))
    axes.hlines(rows, low[order], high[order], color=INK, linewidth=1.2, zorder=2)
    axes.scatter(relative_shift[order], rows, s=26, c=[data.colours[name] for name in names], zorder=3)
    right = np.where(np.isnan(high), relative_shift, high)[order]
    for row, end, value in zip(rows, right, relative_shift[order], strict=True):
        if np.isfinite(value):
            axes.annotate(number(value), (end, row), xytext=(6, 0), textcoords="offset points", va="center", fontsize=7)
    axes.set_yticks(rows, [human(name) for name in names])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(scale.ends(float(np.nanmin(low, initial=0.0)), float(np.nanmax(right, initial=0.0))))
    axes.set_xlabel("relative shift: the shift as a fraction of the distance to another image")
    return drawn


def nearest(data: FigureInput) -> float | None:
    """Returns the mean position of the nearest other image on the ruler; None if the study lacks it."""
    cosine = scale.nearest_cosine(data.table("geometry"))
    baselines = data.summary.filter(pl.col("metric") == COSINE)["baseline"].drop_nulls()
    return None if cosine is None or baselines.is_empty() else (1.0 - cosine) / (1.0 - float(baselines[0]))
