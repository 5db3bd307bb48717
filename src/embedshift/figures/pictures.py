"""Figures 1 and 4a: the pictures themselves, and where the encoder looks."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from embedshift.augmentations import ORIGINAL
from embedshift.errors import EmbedshiftError
from embedshift.figures.base import FigureInput, figure
from embedshift.figures.style import FAINT, INK, human, new_figure, number, readable, wrap
from embedshift.gallery import GalleryImage
from embedshift.images import Pixels
from embedshift.metrics.attention import scaled_map

# Images on one page.
ROWS = 8
# Inches of a picture's side, and of the words above it per line.
_CELL, _WORDS = 0.95, 0.14


def overlay(view: Pixels, attention: NDArray[np.float32]) -> Pixels:
    """A view with its attention map laid over it: dark where the encoder hardly looks, bright where it looks most.

    Args:
        view: uint8 `[S, S, 3]`.
        attention: float32 `[g_h, g_w]`.

    Returns:
        uint8 `[S, S, 3]`.

    Example:
        >>> overlay(np.zeros((4, 4, 3), np.uint8), np.eye(2, dtype=np.float32)).shape
        (4, 4, 3)
    """
    heat = matplotlib.colormaps["inferno"](scaled_map(attention, len(view)))[..., :3]
    grey = view.mean(axis=-1, keepdims=True) / 255
    return np.asarray(np.rint(255 * (0.45 * grey + 0.55 * heat)), np.uint8)


@figure("attention", "01", "Where the encoder looks", pictures=4, of_attention=True)
def attention(data: FigureInput, title: str) -> Figure:
    """Rows of images; columns: the original, its attention, and the attention on each augmented view; with cosines."""
    if not any(image.attention for image in data.gallery) and data.gallery:
        raise EmbedshiftError("figure 'attention': this encoder gives no attention")
    rows = [
        [(image.views[ORIGINAL], ORIGINAL), (_look(image, ORIGINAL), "its attention")]
        + [(_look(image, name), name) for name in data.augmentations]
        for image in _gallery(data, "attention")
    ]
    note = "last layer's attention over each view (dark: least, bright: most; each map on its own scale)"
    return _page(data, title, note, rows, columns=len(data.augmentations) + 2)


@figure("views", "04a", "An image and its augmented views", pictures=1)
def views(data: FigureInput, title: str) -> Figure:
    """The original and its augmented views in a row, or in two where there are more than ten; cosine in the titles."""
    names = [ORIGINAL, *data.augmentations]
    rows = [[(image.views.get(name), name) for name in names] for image in _gallery(data, "views")]
    columns = len(names) if len(names) <= 10 else -(-len(names) // 2)
    return _page(data, title, "views as the encoder sees them", rows, columns=columns)


def _look(image: GalleryImage, name: str) -> Pixels | None:
    if name not in image.views or name not in image.attention:
        return None
    return overlay(image.views[name], image.attention[name])


def _gallery(data: FigureInput, name: str) -> tuple[GalleryImage, ...]:
    if not data.gallery:
        raise EmbedshiftError(f"figure '{name}': no image to show; the source images are gone, or none was chosen")
    if len(data.gallery) > ROWS:
        raise EmbedshiftError(f"figure '{name}': {len(data.gallery)} images; give at most {ROWS} a page", exit_code=2)
    return data.gallery


def _page(
    data: FigureInput, title: str, note: str, rows: Sequence[Sequence[tuple[Pixels | None, str]]], *, columns: int
) -> Figure:
    """Pictures in rows of `columns`; a longer list of one image takes several rows."""
    lines = -(-len(rows[0]) // columns)
    words = max(wrap(human(name), _CELL, 7, bold=True).count("\n") + 2 for _, name in rows[0])
    height = len(rows) * lines * (_CELL + _WORDS * words + 0.06) + 0.25
    note = f"{note}; cos: cosine similarity with the original (1 = no change)"
    figure = new_figure(data.caption(note), (_CELL + 0.05) * columns + 0.35, height, title)
    grid = figure.subplots(len(rows) * lines, columns, squeeze=False)
    for index, (image, pictures) in enumerate(zip(data.gallery, rows, strict=True)):
        places = grid[index * lines : (index + 1) * lines]
        places[0, 0].set_ylabel(
            human(image.image_id.replace("_", "\0"), 20).replace("\0", "_"), fontsize=6.5, visible=True
        )
        for axes, (picture, name) in zip(places.flat, pictures, strict=False):
            _show(axes, picture)
            cosine = image.metrics.get(name, {}).get("cosine_similarity")
            said = "" if name not in image.metrics else f"\ncos {number(np.nan if cosine is None else cosine)}"
            colour = readable(data.colours.get(name, INK))
            axes.set_title(wrap(human(name), _CELL, 7, bold=True) + said, fontsize=7, loc="center", color=colour, pad=3)
        for axes in places.flat[len(pictures) :]:
            axes.set_axis_off()
    return figure


def _show(axes: Axes, picture: Pixels | None) -> None:
    axes.set(xticks=[], yticks=[], facecolor=FAINT)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if picture is None:
        axes.set_aspect("equal")
        axes.text(0.5, 0.5, "n/a", ha="center", va="center", transform=axes.transAxes)
    else:
        axes.imshow(picture)
