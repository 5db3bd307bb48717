"""What a figure is given, what it is, and the registry of them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from numpy.typing import NDArray

from embedshift.clusters import Tree
from embedshift.gallery import GalleryImage
from embedshift.registry import Registry


@dataclass(frozen=True)
class FigureInput:
    """The tables of one study, and a few of its pictures.

    Args:
        summary: As `Study.summary`.
        ranking: As `Study.ranking`.
        pairwise: As `Study.pairwise`.
        clusters: As `Study.clusters`, made by `tree`.
        distances: Under the tree, float64 `[L, L]`, in the order of `clusters`.
        tree: How the tree was made: linkage, what distances mean, whether the original is a leaf.
        rows: As `Study.rows`, lazily; never read `embedding` from it.
        augmentations: Names, in suite order.
        encoder: Name of the encoder with its precision, for the caption line.
        images: Number of images measured.
        seed: The study's seed, for figures that draw a sample.
        gallery: Images with their views, for the figures that show pictures; empty where the sources are gone.
    """

    summary: pl.DataFrame
    ranking: pl.DataFrame
    pairwise: pl.DataFrame
    clusters: pl.DataFrame
    distances: NDArray[np.float64]
    tree: Tree
    rows: pl.LazyFrame
    augmentations: list[str]
    encoder: str
    images: int
    seed: int
    gallery: tuple[GalleryImage, ...] = ()


@dataclass(frozen=True)
class PaperFigure:
    """One figure of the paper.

    Args:
        name: As the command line names it, "dendrogram".
        number: The paper's number, two digits first, "04d"; files are called fig<number>_<name>.
        title: One line.
        draw: Tables → matplotlib Figure; saves nothing.
        shows_pictures: Whether it needs `FigureInput.gallery`.
    """

    name: str
    number: str
    title: str
    draw: Callable[[FigureInput], Figure]
    shows_pictures: bool = False


FIGURES: Registry[PaperFigure] = Registry("figure")


def figure(
    name: str, number: str, title: str, *, shows_pictures: bool = False
) -> Callable[[Callable[[FigureInput], Figure]], Callable[[FigureInput], Figure]]:
    """Registers the decorated function in `FIGURES`."""

    def register(draw: Callable[[FigureInput], Figure]) -> Callable[[FigureInput], Figure]:
        FIGURES.add(name, PaperFigure(name, number, title, draw, shows_pictures))
        return draw

    return register
