"""Figures 25 and 26: maps of what the embedding comes from, and how far augmentations change them."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from embedshift.arrays import Floats, Pixels
from embedshift.augmentations import ORIGINAL
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.figures.base import FigureInput, figure, has_table
from embedshift.figures.shared import drawn_images, name_rows, overlay, page
from embedshift.figures.style import INK, MUTED, human, new_figure
from embedshift.questions.maps import ALIGNED_CORRELATION, ATTENTION, CORRELATION, RELEVANCE, TOKENS, map_columns
from embedshift.questions.maps.tables import image_ids, map_names
from embedshift.report.numbers import count
from embedshift.store.reader import Reader
from embedshift.store.redraw import RedrawnImage

WORDS = {ATTENTION: "attention of the last layer", RELEVANCE: "relevance", TOKENS: "tokens of the last block"}
# Beside the original, the augmentations that change the embedding most.
SHOWN = 2
NO_MAPS = "the study has no maps; run it with `maps` relevance,tokens"


def images_with_maps(reader: Reader) -> list[str]:
    names = map_names(reader)
    return image_ids(reader.rows(), names) if names else []


def _row(image: RedrawnImage, view: str, names: Sequence[str], stored: "MapsByView") -> list[tuple[Pixels | None, str]]:
    return [(image.views.get(view), view), *((_overlay(image, view, name, stored), name) for name in names)]


@figure("maps", images=2, section=True, is_available=has_table("maps"), candidates=images_with_maps)
def maps(data: FigureInput, title: str) -> Figure:
    names = map_names(data.reader)
    if not names:
        raise UsageError(NO_MAPS)
    shown = [ORIGINAL, *data.by_rank()[::-1][:SHOWN]]
    stored = _stored_maps(data, names, shown)
    if not stored:
        raise EmbedshiftError("figure 'maps': none of the chosen images has maps")
    rows = [
        [cell for view in shown for cell in _row(image, view, names, stored)] for image in drawn_images(data, "maps")
    ]
    settings = data.reader.identity_of("maps")
    target = {"image": "the original's embedding", "caption": "the image's caption"}.get(settings["target"], "the text")
    signs = f"; tokens: red supports {target}, blue opposes it" if TOKENS in names else ""
    note = f"maps of {count(settings['images'], 'image')}, over each view, each with its own scale"
    note += f" (dark: low, bright: high{signs})"
    return page(data, title, note, rows, columns=1 + len(names))


MapsByView = Mapping[tuple[str, str, str], Floats]


def _stored_maps(data: FigureInput, names: Sequence[str], views: Sequence[str]) -> MapsByView:
    columns = [column for name in names for column in map_columns(name)]
    chosen = pl.col("image_id").is_in([image.image_id for image in data.drawn]) & pl.col("view").is_in(list(views))
    rows = data.rows.filter(chosen & (pl.col("draw") == 0)).select("image_id", "view", *columns).collect()
    maps, (height, width) = dict[tuple[str, str, str], Floats](), data.reader.identity_of("maps")["grid"]
    for row in rows.iter_rows(named=True):
        for name in names:
            values = row[map_columns(name)[row["view"] == ORIGINAL]]
            if values is not None:
                maps[row["image_id"], row["view"], name] = np.asarray(values, np.float32).reshape(height, width)
    return maps


def _overlay(image: RedrawnImage, view: str, name: str, stored: MapsByView) -> Pixels | None:
    values = stored.get((image.image_id, view, name))
    if view not in image.views or values is None:
        return None
    return overlay(image.views[view], values, signed=name == TOKENS)


def shown_metric(table: pl.DataFrame) -> str:
    """Returns the comparison that figure and section show: aligned, if anything could be aligned."""
    aligned = table.filter(pl.col("metric") == ALIGNED_CORRELATION, pl.col("n") > 0)
    return CORRELATION if aligned.is_empty() else ALIGNED_CORRELATION


@figure("maps_moved", section=True, is_available=has_table("maps"))
def maps_moved(data: FigureInput, title: str) -> Figure:
    table = data.table("maps")
    if table is None:
        raise UsageError(NO_MAPS)
    metric = shown_metric(table)
    names = table["map"].unique(maintain_order=True).to_list()
    ranked = data.by_rank()
    aligned = ", after moving the original's map like the view" if metric == ALIGNED_CORRELATION else ""
    notes = [f"correlation of the view's map with the original's{aligned}: 1 = the same patches"]
    notes += ["line: 95 % interval of the mean"] if table["ci_low"].count() else []
    images = table["n"].max()
    notes.append(f"maps of {count(images // data.draws if isinstance(images, int) else 0, 'image')}")
    figure = new_figure(data.caption(*notes), 2.3 * len(names) + 1.4, 1.2 + 0.27 * len(ranked), title)
    rows = np.arange(len(ranked))
    panels = figure.subplots(1, len(names), sharex=True, sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        part = {row["augmentation"]: row for row in table.filter(map=name, metric=metric).iter_rows(named=True)}
        ends = ("mean", "ci_low", "ci_high")
        mean, low, high = (np.array([part[name][end] for name in ranked], np.float64) for end in ends)
        axes.axvline(1.0, color=MUTED, linewidth=0.8, linestyle="--")
        axes.hlines(rows, low, high, color=INK, linewidth=1.2)
        axes.scatter(mean, rows, s=22, c=[data.colours[name] for name in ranked], zorder=3)
        axes.set_title(WORDS[name])
        axes.set_xlabel("correlation (1 = no change)")
        axes.tick_params(axis="y", length=0)
        axes.locator_params(axis="x", nbins=5)
        axes.grid(axis="x")
    name_rows(panels[0], [human(name) for name in ranked])
    return figure
