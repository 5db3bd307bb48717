"""Figure 24: how much of a shift the last block's attention carries, patch by patch."""

from collections.abc import Sequence

import matplotlib
import numpy as np
import polars as pl
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from embedshift.arrays import Pixels, Values
from embedshift.augmentations import ORIGINAL
from embedshift.errors import UsageError
from embedshift.figures.base import FigureInput, figure, has_table
from embedshift.figures.images import drawn_images, page
from embedshift.figures.matrix import colour_bar
from embedshift.questions.heads.arrays import COLOURS, furthest_first
from embedshift.questions.heads.columns import TOKENS
from embedshift.statistics.summary import COSINE
from embedshift.store.redraw import RedrawnImage

TITLES = {"pattern": "attention weights", "values": "token values"}
# The scale ends where this part of the patches lies below: a few have many times what others have.
WITHIN = 0.99
# Inches of the scale.
SCALE = 0.9

Maps = dict[tuple[str, str, str], Values]


@figure("head_tokens", images=3, section=True,
        is_available=has_table("head_tokens"))  # fmt: skip
def head_tokens(data: FigureInput, title: str) -> Figure:
    """One row per image: the original; then the view that moves furthest, and the median one, with two maps each."""
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
    """Returns image, augmentation and term → contributions of the patches `[g_h, g_w]`, of draw 0, if there are any."""
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
    """Returns each view, and its maps as images."""
    pictures: list[tuple[Pixels | None, str]] = []
    for name in names:
        pictures.append((image.views.get(name), name))
        for term, words in TITLES.items():
            patches = maps.get((image.image_id, name, term))
            pictures.append((None if patches is None else coloured(patches, scale), words))
    return pictures


def coloured(contributions: Values, scale: Normalize) -> Pixels:
    """Converts contributions `[g_h, g_w]` to an image, uint8 `[g_h, g_w, 3]`, with one pixel per patch."""
    colours = matplotlib.colormaps[COLOURS](scale(contributions))[..., :3]
    return np.asarray(np.rint(255 * colours), np.uint8)
