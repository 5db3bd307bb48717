"""Figures of a comparison of studies."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from embedshift.arrays import Values
from embedshift.errors import UsageError
from embedshift.figures import style
from embedshift.figures.shared import level_axis, name_rows, tolerance_mark
from embedshift.figures.style import FAINT, MUTED, human, new_figure, number, verbatim
from embedshift.registry import METRICS
from embedshift.registry.names import one_of
from embedshift.statistics.equivalence import RELATIVE_SHIFT
from embedshift.statistics.shift_ratios import SATURATED
from embedshift.statistics.strengths import MeasuredFamily, by_family
from embedshift.statistics.summary import COSINE
from embedshift.store.plans import ALL


@dataclass(frozen=True)
class ComparisonInput:
    names: list[str]
    images: int
    augmentations: list[str]
    comparison: pl.DataFrame
    overall: pl.DataFrame
    side_by_side: pl.DataFrame
    tolerances: pl.DataFrame
    families: Sequence[MeasuredFamily]


# The numbers at the ticks of an axis of ratios, and the most of them; powers of ten if there would be more.
RATIOS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 5, 10, 20, 50, 100)
MOST_TICKS = 12


def draw(name: str, data: ComparisonInput) -> Figure:
    one_of("comparison figure", name, list(COMPARISON_FIGURES))
    with style.context():
        return COMPARISON_FIGURES[name](data)


def ratios(data: ComparisonInput) -> Figure:
    names, augmentations = data.names[1:], [ALL, *data.augmentations]
    rows = pl.concat([data.overall, data.comparison]).filter(metric=RELATIVE_SHIFT)
    note = "dot: ratio of relative shifts, filled if significant; line: 95 % interval, for all augmentations at once"
    height = 1.1 + 0.18 * len(names) + max(0.28, 0.13 * len(names)) * len(augmentations)
    figure = new_figure(_caption(data, note), 6.5, height, f"How many times as far as {_name(data.names[0])}")
    axes = figure.subplots()
    axes.axvline(1, color=MUTED, linewidth=0.8)
    for name, positions in zip(names, _bar_positions(len(augmentations), len(names)), strict=True):
        _dots(axes, rows.filter(study=name), positions, ("ratio", "ratio_low", "ratio_high"), colours(data.names)[name])
    _ratio_axis(axes)
    saturated = set(rows.filter(pl.col("reference_mean") >= SATURATED)["augmentation"])
    labels = [human(name) + (" (not in all)" if name in saturated else "") for name in augmentations]
    name_rows(axes, labels)
    axes.set_xlabel("ratio of relative shifts (1 = as far)")
    axes.hlines(0.5, 0, 1, MUTED, linewidth=0.8, transform=axes.get_yaxis_transform())
    if len(names) > 1:
        axes.legend(handles=_patches(data, names), loc="lower left", bbox_to_anchor=(0, 1), borderpad=0.2)
    return figure


def means(data: ComparisonInput) -> Figure:
    names, augmentations = data.names, data.augmentations
    figure, panels = _panels(data, names, "Means by study", "bar: mean")
    for axes, metric in zip(panels, shown_metrics(data), strict=True):
        values = _means(data, metric)
        low, high = min(0.0, np.nanmin(values, initial=0.0)), np.nanmax(values, initial=0.0) or 1.0
        for name, column, positions in zip(
            names, values.T, _bar_positions(len(augmentations), len(names)), strict=True
        ):
            axes.barh(positions, column, height=0.8 / len(names), color=colours(names)[name])
            for position, value in zip(positions, column, strict=True):
                axes.text(max(np.nan_to_num(value), 0.0), position, f" {number(value)}", va="center", fontsize=6)
        axes.set_xlim(low * 1.05, high + 0.2 * (high - low))
        axes.set_xlabel(f"mean {METRICS[metric].label}\n({METRICS[metric].no_change:g} = no change)")
    return figure


def differences(data: ComparisonInput) -> Figure:
    names, augmentations = data.names, data.augmentations
    title = f"{_name(names[1])} minus {_name(names[0])}" if len(names) == 2 else f"Each minus {_name(names[0])}"
    note = "dot: difference of the means, filled if significant; line: paired 95 % interval"
    figure, panels = _panels(data, names[1:], title, note)
    for axes, metric in zip(panels, shown_metrics(data), strict=True):
        axes.axvline(0, color=MUTED, linewidth=0.8)
        for name, positions in zip(names[1:], _bar_positions(len(augmentations), len(names) - 1), strict=True):
            rows = data.comparison.filter(metric=metric, study=name)
            _dots(axes, rows, positions, ("difference", "ci_low", "ci_high"), colours(names)[name])
        axes.set_xlabel(f"difference of\n{METRICS[metric].label}")
        axes.locator_params(axis="x", nbins=4)
    return figure


def tolerances(data: ComparisonInput) -> Figure:
    if data.tolerances.is_empty():
        raise UsageError("figure 'tolerances': the augmentations of these studies are not families")
    names, families = data.names, {family.name: family for family in data.families}
    rows, last = list(by_family(data.tolerances).values()), max(len(family.views) for family in data.families)
    note = "dot: tolerance, hollow if the strongest level does not reach it; line: 95 % interval"
    height = 1.2 + 0.18 * len(names) + max(0.28, 0.14 * len(names)) * len(rows)
    figure = new_figure(_caption(data, note), 7.5, height, "How strong a change the encoders tolerate")
    axes = figure.subplots()
    level_axis(axes, [human(row["family"]) for row in rows], last)
    for name, positions in zip(names, _bar_positions(len(rows), len(names)), strict=True):
        for position, row in zip(positions, rows, strict=True):
            ends = row[name], row[f"{name} low"], row[f"{name} high"]
            tolerance_mark(axes, position, families[row["family"]], ends, colours(names)[name])
    axes.hlines(np.arange(1, len(rows)) - 0.5, 0, 1, FAINT, linewidth=0.6, transform=axes.get_yaxis_transform())
    axes.legend(handles=_patches(data, names), loc="lower left", bbox_to_anchor=(0, 1), borderpad=0.2)
    return figure


COMPARISON_FIGURES = {figure.__name__: figure for figure in (ratios, means, differences, tolerances)}


def shown_metrics(data: ComparisonInput) -> list[str]:
    metrics = data.comparison.drop_nulls("difference")["metric"].unique(maintain_order=True)
    encoders = [metric for metric in metrics if metric in METRICS and METRICS[metric].question != "pixels"]
    return [COSINE, *(metric for metric in encoders if metric != COSINE)]


def colours(names: list[str]) -> dict[str, str]:
    scale = matplotlib.colormaps["cividis"](np.linspace(0, 0.85, max(2, len(names) - 1)))
    return {name: to_hex(colour) for name, colour in zip(names, ["#b4b4b4", *scale], strict=False)}


def _ratio_axis(axes: Axes) -> None:
    axes.set_xscale("log")
    low, high = min(axes.get_xlim()[0], 0.9), max(axes.get_xlim()[1], 1.12)
    ticks = [tick for tick in RATIOS if low <= tick <= high]
    if len(ticks) > MOST_TICKS:
        first, last = int(np.ceil(np.log10(low))), int(np.log10(high))
        step = max(1, -(-(last - first) // (MOST_TICKS // 2)))
        ticks = [10.0**power for power in range(first, last + 1) if power % step == 0]
    axes.set_xlim(low, high)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def _dots(axes: Axes, rows: pl.DataFrame, positions: Values, columns: Sequence[str], colour: str) -> None:
    middle, low, high = rows.select(columns).cast(pl.Float64).fill_null(np.nan).to_numpy().T
    faces = [colour if significant else "white" for significant in rows["significant"]]
    axes.hlines(positions, low, high, color=colour, linewidth=1.6)
    axes.scatter(middle, positions, s=16, facecolors=faces, edgecolors=colour, zorder=3)


def _bar_positions(augmentations: int, studies: int) -> list[Values]:
    middles = np.arange(augmentations, dtype=np.float64)
    return [middles + (s - (studies - 1) / 2) * 0.8 / studies for s in range(studies)]


def _means(data: ComparisonInput, metric: str) -> Values:
    """Returns means `[A, S]` in the order of the tables; NaN where a study cannot be compared in this metric."""
    columns = [data.side_by_side.filter(metric=metric)[data.names[0]]]
    for name in data.names[1:]:
        rows = data.comparison.filter(metric=metric, study=name)
        columns.append(rows.select(pl.when(pl.col("difference").is_not_null()).then("mean")).to_series())
    return np.stack([column.cast(pl.Float64).fill_null(np.nan).to_numpy() for column in columns], axis=1)


def _caption(data: ComparisonInput, note: str) -> str:
    return f"n = {data.images:,} image{'s' if data.images != 1 else ''}, measured by every study · {note}"


def _patches(data: ComparisonInput, names: Sequence[str]) -> list[Patch]:
    return [Patch(color=colours(data.names)[name], label=_name(name)) for name in names]


def _name(study: str) -> str:
    return verbatim(study, 60)


def _panels(data: ComparisonInput, marked: list[str], title: str, note: str) -> tuple[Figure, list[Axes]]:
    augmentations, metrics = data.augmentations, shown_metrics(data)
    panel = 0.2 + max(0.28, 0.13 * len(marked)) * len(augmentations)
    legend = 0.18 * len(marked) if len(marked) > 1 else 0.0
    figure = new_figure(_caption(data, note), 2.4 * len(metrics) + 1.6, panel + legend + 1.0, title)
    grid = figure.add_gridspec(2, len(metrics), height_ratios=(legend + 0.01, panel))
    if legend:
        above = figure.add_subplot(grid[0, :])
        above.set_axis_off()
        above.legend(handles=_patches(data, marked), loc="lower left", borderaxespad=0, borderpad=0)
    first = figure.add_subplot(grid[1, 0])
    panels = [first, *(figure.add_subplot(grid[1, k], sharey=first) for k in range(1, len(metrics)))]
    name_rows(first, [human(name) for name in augmentations])
    between = np.arange(1, len(augmentations)) - 0.5
    for axes in panels:
        axes.tick_params(axis="y", length=0, labelleft=axes is first)
        axes.hlines(between, 0, 1, FAINT, linewidth=0.6, zorder=0, transform=axes.get_yaxis_transform())
    return figure, panels
