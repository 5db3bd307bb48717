"""Figures 2 and 4a: an image through the pipeline, and its augmented views."""

from matplotlib.figure import Figure

from embedshift.augmentations import ORIGINAL
from embedshift.figures.base import FigureInput, figure
from embedshift.figures.images import drawn_images, page
from embedshift.questions.examples import pipeline

__all__ = ["pipeline", "views"]


@figure("views", images=1)
def views(data: FigureInput, title: str) -> Figure:
    """The original and its augmented views in one row, or in two if there are more than ten; cosines in titles."""
    names = [ORIGINAL, *data.augmentations]
    rows = [[(image.views.get(name), name) for name in names] for image in drawn_images(data, "views")]
    columns = len(names) if len(names) <= 10 else -(-len(names) // 2)
    return page(data, title, "views as the encoder sees them", rows, columns=columns)
