"""Figures 21, 22 and 24: heads and MLPs that carry the shift, in a map and in bars, and the patches."""

import itertools
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from embedshift.arrays import Pixels, Values
from embedshift.augmentations import ORIGINAL
from embedshift.config import Json
from embedshift.errors import UsageError
from embedshift.figures.base import FigureInput, figure, has_table
from embedshift.figures.shared import colour_bar, drawn_images, name_rows, page
from embedshift.figures.style import FAINT, INK, MUTED, human, new_figure, wrap
from embedshift.questions.heads import TOKENS
from embedshift.questions.heads.tables import COLOURS, ContributionArrays, contributions_of, furthest_first
from embedshift.statistics.summary import COSINE
from embedshift.store.redraw import RedrawnImage

# Panels of the map; inches of a panel's width and of a row, and cells between the heads and the MLPs.
MOST_PANELS, PANEL, ROW, GAP = 9, 1.9, 0.115, 0.8
# From early blocks to the last.
BLUES, ORANGES = ("#C6DBEF", "#6BAED6", "#0072B2"), ("#FDD9B5", "#F4A259", "#D55E00")
OTHERS = {"input": ("input", MUTED), "pattern": ("pooling pattern", "#009E73"), "rest": ("rest", INK)}
# A part that carries less of every shift is left out of the bars.
LEAST = 0.005
TITLES = {"pattern": "attention weights", "values": "token values"}
# The scale ends where this part of the patches lies below: a few have many times what others have.
WITHIN = 0.99
# Inches of the scale.
SCALE = 0.9

Maps = dict[tuple[str, str, str], Values]


def _shown_contributions(data: FigureInput) -> tuple[dict[str, ContributionArrays], list[str], dict[str, float]]:
    table = data.table("heads")
    if table is None:
        raise UsageError("the study has no heads; run it with `heads`")
    contributions, shift = contributions_of(table), 1 - data.statistic("mean", COSINE)
    names = furthest_first(data.augmentations, shift)
    moved = [name for name in names if np.isfinite(contributions[name].mlps).all()]
    return contributions, moved or names[:1], dict(zip(data.augmentations, shift.tolist(), strict=True))


@figure("heads_map", section=True, is_available=has_table("heads"))
def heads_map(data: FigureInput, title: str) -> Figure:
    contributions, names, _ = _shown_contributions(data)
    shown = names[:MOST_PANELS]
    notes = ["red: carries the shift; blue: works against it", "frame: the head with the largest contribution"]
    if len(shown) < len(data.augmentations):
        notes.append(f"{len(shown)} of {len(data.augmentations)} augmentations: those with the largest shift")
    head_values = np.concatenate([contributions[name].heads.ravel() for name in shown])
    end = float(np.nanmax(np.abs(head_values), initial=0.0)) or 1.0
    if (np.nan_to_num([contributions[name].mlps for name in shown]) > end).any():
        notes.append("the colours end at the largest contribution of a head; larger ones of MLPs have the same colour")
    columns = min(3, len(shown))
    lines = -(-len(shown) // columns)
    titles = [wrap(human(name), PANEL, 9, bold=True) for name in shown]
    words = max(title.count("\n") for title in titles)
    height = max(0.8, ROW * contributions[shown[0]].depth) + 0.32 + 0.15 * (1 + words)
    drawn = new_figure(data.caption(*notes), (PANEL + 0.25) * columns + 1.3, height * lines + 0.5, title)
    grid = drawn.subplots(lines, columns, squeeze=False)
    for panel, axes in enumerate(grid.flat):
        if panel >= len(shown):
            axes.set_visible(False)
            continue
        mesh = _panel(axes, contributions[shown[panel]], end)
        axes.set_title(titles[panel])
        if panel % columns == 0:
            axes.set_ylabel("block")
        if panel + columns >= len(shown):
            axes.set_xlabel("head")
    shrink = min(1.0, 2.5 / lines / height)
    colour_bar(drawn, mesh, list(grid.flat), "fraction of the shift", extend="both", shrink=shrink)
    return drawn


def _panel(axes: Axes, contributions: ContributionArrays, end: float) -> Any:
    depth, width = contributions.heads.shape
    rows = np.arange(depth + 1)
    look: Json = {"cmap": COLOURS, "vmin": -end, "vmax": end, "edgecolors": "white", "linewidth": 0.3}
    mesh = axes.pcolormesh(np.arange(width + 1), rows, contributions.heads, **look)
    axes.pcolormesh(np.array([0, 1]) + width + GAP, rows, contributions.mlps[:, None], **look)
    if np.isfinite(contributions.heads).any():
        row, column = np.unravel_index(np.nanargmax(contributions.heads), contributions.heads.shape)
        axes.add_patch(Rectangle((float(column), float(row)), 1, 1, fill=False, edgecolor=INK, linewidth=1.1, zorder=3))
    axes.set(xlim=(0, width + GAP + 1), ylim=(depth, 0))
    heads, blocks = (np.arange(0, count, -(-count // 4)) for count in (width, depth))
    axes.set_xticks([*(heads + 0.5), width + GAP + 0.5], [*map(str, heads), "MLP"])
    axes.set_yticks(blocks + 0.5, [str(block + 1) for block in blocks])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return mesh


@figure("heads_bars", section=True, is_available=has_table("heads"))
def heads_bars(data: FigureInput, title: str) -> Figure:
    contributions, names, shift = _shown_contributions(data)
    by_part = parts_of([contributions[name] for name in names])
    shown = {name: values for name, (_, values) in by_part.items() if np.nanmax(np.abs(values), initial=0.0) >= LEAST}
    notes = ["left: contribution × (1 − mean cosine)", "parts below 0 work against the shift; dot: sum of all parts"]
    if omitted := [name for name in by_part if name not in shown]:
        notes.append(f"not shown, below {100 * LEAST:g} % of every shift: {', '.join(omitted)}")
    height = max(0.9 + 0.24 * len(names), 0.5 + 0.17 * len(shown))
    drawn = new_figure(data.caption(*notes), 9.0, height, title)
    panels, rows = drawn.subplots(1, 2, sharey=True), np.arange(len(names))
    points = np.array([shift[name] for name in names])
    for axes, scale in zip(panels, (points, np.ones(len(names))), strict=True):
        ends = {1: np.zeros(len(names)), -1: np.zeros(len(names))}
        for name, values in shown.items():
            width = np.nan_to_num(values * scale)
            for sign, end in ends.items():
                part = np.where(np.sign(width) == sign, width, 0.0)
                label = name if sign == 1 else None
                axes.barh(rows, part, left=end, height=0.7, color=by_part[name][0], label=label)
                end += part
        is_finite = np.isfinite(scale * sum(values for _, values in by_part.values()))
        axes.scatter(scale[is_finite], rows[is_finite], s=14, color="white", edgecolors=INK, linewidth=0.9, zorder=3)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.grid(axis="x", color=FAINT)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    name_rows(panels[0], [human(name) for name in names])
    panels[0].set_xlabel("contribution × (1 − mean cosine)")
    panels[1].set_xlabel("fraction of the shift")
    panels[1].tick_params(axis="y", length=0)
    drawn.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper")
    return drawn


def parts_of(contributions: list[ContributionArrays]) -> dict[str, tuple[str, Values]]:
    """Returns the parts of the bars by name, from the input to the last block: a colour, and contributions `[A]`."""
    single = {
        words: (colour, np.array([split.single[name] for split in contributions]))
        for name, (words, colour) in OTHERS.items()
    }
    (first, *last), blocks = single.items(), groups(contributions[0].depth)
    parts = dict([first])
    for kind, colours in (("heads", BLUES), ("MLPs", ORANGES)):
        for (words, group), colour in zip(blocks.items(), colours[-len(blocks) :], strict=True):
            values = [
                (split.heads.sum(axis=1) if kind == "heads" else split.mlps)[group].sum() for split in contributions
            ]
            is_single = kind == "MLPs" and words.startswith("block ")
            parts[f"{'MLP' if is_single else kind} of {words}"] = colour, np.array(values)
    return parts | dict(last)


def groups(depth: int) -> dict[str, slice]:
    """The last block alone, since it carries most, and the others in two halves."""
    cuts = sorted({0, depth // 2, depth - 1, depth})
    return {
        f"block {stop}" if stop == start + 1 else f"blocks {start + 1}–{stop}": slice(start, stop)
        for start, stop in itertools.pairwise(cuts)
    }


@figure("head_tokens", images=3, section=True, is_available=has_table("head_tokens"))
def head_tokens(data: FigureInput, title: str) -> Figure:
    if data.table("head_tokens") is None:
        raise UsageError("the study has no contributions of tokens; run it with `heads_tokens`")
    images, names = drawn_images(data, "head_tokens"), shown_of(data)
    maps = maps_of(data, images, names)
    values = np.abs(np.concatenate([patches.ravel() for patches in maps.values()] or [np.zeros(1)]))
    scale = Normalize(-(end := float(np.quantile(values, WITHIN)) or 1.0), end)
    rows = [[(image.views.get(ORIGINAL), ORIGINAL), *_image_row(image, names, maps, scale)] for image in images]
    note = (
        "attention weights: the patch gets more or less attention than in the original; token values: its content "
        "differs. Red: carries the shift; blue: works against it. One scale for all maps"
    )
    drawn = page(data, title, note, rows, columns=1 + 3 * len(names))
    drawn.set_figwidth(drawn.get_figwidth() + SCALE)
    words, shape = "fraction of the shift, by patch", {"extend": "both", "shrink": 0.8, "aspect": 30}
    colour_bar(drawn, ScalarMappable(scale, COLOURS), drawn.axes, words, **shape)
    return drawn


def shown_of(data: FigureInput) -> list[str]:
    """Returns the augmentation that moves the embedding furthest and the median one; one if there is no other."""
    order = furthest_first(data.augmentations, 1 - data.statistic("mean", COSINE))
    return list(dict.fromkeys([order[0], order[len(order) // 2]]))


def maps_of(data: FigureInput, images: Sequence[RedrawnImage], names: Sequence[str]) -> Maps:
    grid = data.reader.info.encoder.grid
    ids = [image.image_id for image in images]
    is_shown = pl.col("image_id").is_in(ids) & pl.col("view").is_in(list(names)) & (pl.col("draw") == 0)
    rows = data.rows.filter(is_shown).select("image_id", "view", *TOKENS.values()).collect()
    maps: Maps = {}
    for row in rows.iter_rows(named=True):
        for term, column in TOKENS.items():
            patches = np.asarray(row[column] or [], np.float64)[1:]
            if grid is not None and patches.size == grid[0] * grid[1] and np.isfinite(patches).all():
                maps[row["image_id"], row["view"], term] = patches.reshape(grid[0], grid[1])
    return maps


def _image_row(
    image: RedrawnImage, names: Sequence[str], maps: Maps, scale: Normalize
) -> list[tuple[Pixels | None, str]]:
    pictures: list[tuple[Pixels | None, str]] = []
    for name in names:
        pictures.append((image.views.get(name), name))
        for term, words in TITLES.items():
            patches = maps.get((image.image_id, name, term))
            pictures.append((None if patches is None else coloured(patches, scale), words))
    return pictures


def coloured(contributions: Values, scale: Normalize) -> Pixels:
    colours = matplotlib.colormaps[COLOURS](scale(contributions))[..., :3]
    return np.asarray(np.rint(255 * colours), np.uint8)
