"""Figures 4b, 4c, 7 and 9, distances of embeddings, and 15, the ruler from the unchanged image to another one."""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from embedshift.arrays import Values
from embedshift.errors import EmbedshiftError
from embedshift.figures.base import FigureInput, figure
from embedshift.figures.shared import cells, colour_bar, column_width, name_rows
from embedshift.figures.style import INK, MUTED, column_names, halo, human, metric_label, new_figure, number, verbatim
from embedshift.report.numbers import count
from embedshift.statistics.intervals import LEAST_IMAGES
from embedshift.statistics.sample import OF_A_SET
from embedshift.statistics.summary import COSINE, density
from embedshift.store.reader import draw_ids

SAMPLE = 50
# Between these relative shifts the nearest other image has a mark of its own; elsewhere the words of two marks overlap.
_APART = 0.15, 0.85


@figure("l2_density")
def l2_density(data: FigureInput, title: str) -> Figure:
    samples = {name: data.values(name, "l2_distance") for name in data.augmentations}
    curves = {name: density(values, low=0.0) for name, values in samples.items()}
    spikes = {name: values[0] for name, values in samples.items() if len(values) and curves[name] is None}
    note = "Gaussian kernel, Scott's bandwidth" + ("; dashed: all values are equal" if spikes else "")
    figure = new_figure(data.caption(note), 8, 4.3 + 0.12 * max(0, len(samples) - 9), title)
    axes = figure.subplots()
    drawn = {name: curve for name, curve in curves.items() if curve is not None}
    for name, curve in drawn.items():
        axes.fill_between(*curve, color=data.colours[name], alpha=0.22, linewidth=0)
        axes.plot(*curve, color=data.colours[name], linewidth=1.4, label=human(name))
    highest = max((float(curve[1].max()) for curve in drawn.values()), default=1.0)
    for name, value in spikes.items():
        place = [value, value], [0, highest]
        axes.plot(*place, color=data.colours[name], linewidth=1.4, linestyle="--", label=human(name))
    axes.set_ylim(0, highest * 1.05)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"{metric_label('l2_distance')}, in the encoder's own units")
    axes.set_ylabel("density, per unit of distance")
    if not drawn:
        axes.set_yticks([])
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    return figure


@figure("cosine_histogram")
def cosine_histogram(data: FigureInput, title: str) -> Figure:
    note = "bars: histogram; line: Gaussian kernel density; dotted: mean; each row has its own vertical scale"
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
        label = f"{human(name)}\nmean {number(mean)}, sd {number(sd)}"
        axes.legend([handle], [label], loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=0.9, borderpad=0)
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


@figure("l2_bars")
def l2_bars(data: FigureInput, title: str) -> Figure:
    means, sds = data.statistic("mean", "l2_distance"), data.statistic("sd", "l2_distance")
    order = np.argsort(-np.nan_to_num(means, nan=-1.0), kind="stable")
    names = [data.augmentations[index] for index in order]
    means, sds = means[order], np.nan_to_num(sds[order])
    note = "bar: mean; whisker: one standard deviation in each direction"
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
        words = "n/a" if np.isnan(mean) else f"{mean:.3g}"
        axes.text(float(end) + 0.012 * longest, float(position), words, va="center")
    name_rows(axes, [human(name) for name in names])
    axes.set_xlim(0, longest * 1.12)
    axes.set_xlabel(f"mean {metric_label('l2_distance')}, in the encoder's own units")
    return figure


@figure("sample_heatmap")
def sample_heatmap(data: FigureInput, title: str) -> Figure:
    images = data.rows.filter(pl.col("view") == data.augmentations[0]).select(pl.col("image_id").unique()).collect()
    ids = draw_ids(images["image_id"], SAMPLE, data.seed)
    chosen = data.rows.filter(pl.col("image_id").is_in(ids) & pl.col("view").is_in(data.augmentations))
    means = chosen.group_by("image_id", "view").agg(pl.col(COSINE).fill_nan(None).mean()).collect()
    found = {(image, view): value for image, view, value in means.iter_rows()}
    values = np.array([[found.get((image, name)) for name in data.augmentations] for image in ids], np.float64)
    inches = column_width(len(data.augmentations)) * 0.9
    note = f"{count(len(ids), 'image')} drawn by seed {data.seed}" + (", mean over the draws" if data.draws > 1 else "")
    width = inches * len(data.augmentations) + 3.2
    height = max(0.155 * len(ids), 1.6) + column_names(data.augmentations, inches)[2] + 0.9
    figure = new_figure(data.caption(note), width, height, title)
    axes = figure.subplots()
    rows = [verbatim(data.reader.naming.image(image), 34) for image in ids]
    mesh = cells(axes, values, rows, data.augmentations, inches, linewidth=0.4)
    axes.tick_params(axis="y", labelsize=6.5)
    colour_bar(figure, mesh, axes, metric_label("cosine_similarity"), aspect=40)
    return figure


def has_relative_shift(data: FigureInput) -> bool:
    return bool(np.isfinite(data.statistic("relative_shift", COSINE)).any())


@figure("ruler", section=True, is_available=lambda data: has_relative_shift(data) and not data.shows_one_level)
def ruler(data: FigureInput, title: str) -> Figure:
    if not has_relative_shift(data):
        raise EmbedshiftError(
            "figure 'ruler': this study has no relative shift: too few images, or all as similar as equal ones"
        )
    relative_shift, low, high = (data.statistic(f"relative_shift{end}", COSINE) for end in ("", "_low", "_high"))
    order = np.argsort(-np.nan_to_num(relative_shift, nan=-np.inf), kind="stable")
    names = [data.augmentations[index] for index in order]
    note = f"dot: mean relative shift; line: 95 % interval (bootstrap over {data.group_word}s)"
    if data.group_count < LEAST_IMAGES:
        note = f"dot: mean relative shift; no interval below {LEAST_IMAGES} {data.group_word}s"
    drawn = new_figure(data.caption(note), 7.5, 1.6 + 0.27 * len(names), title)
    axes = drawn.subplots()
    for position, lines in ruler_marks(nearest(data), nearest_of(data.images)).items():
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
    name_rows(axes, [human(name) for name in names])
    axes.set_xlim(ruler_ends(float(np.nanmin(low, initial=0.0)), float(np.nanmax(right, initial=0.0))))
    axes.set_xlabel("relative shift: the shift as a fraction of the distance to another image")
    return drawn


def nearest(data: FigureInput) -> float | None:
    cosine, baseline = nearest_cosine(data.table("geometry")), data.baseline(COSINE)
    return None if cosine is None or baseline is None else (1.0 - cosine) / (1.0 - baseline)


def ruler_marks(near: float | None, among: str = "other image") -> dict[float, tuple[str, str]]:
    words = {0.0: ("same", "image"), 1.0: ("another", "image")}
    if near is not None and _APART[0] < near < _APART[1]:
        words[near] = "nearest", among
    return words


def ruler_ends(low: float, high: float) -> tuple[float, float]:
    """Where the ruler begins and ends, so that both marks and all relative shifts from `low` to `high` are on it."""
    return min(-0.02, low), 1.12 * max(1.0, high)


def nearest_cosine(geometry: pl.DataFrame | None) -> float | None:
    """Returns the mean cosine of an image with its nearest other one, from that table; None if it is not there."""
    if geometry is None:
        return None
    cosines = geometry.filter((pl.col("views") == "original") & (pl.col("metric") == "nearest_cosine"))["value"]
    return next(iter(cosines.drop_nulls().to_list()), None)


def nearest_of(images: int) -> str:
    return f"of {OF_A_SET} images" if images > OF_A_SET else "other image"
