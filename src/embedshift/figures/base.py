"""What a figure is given, what it is, and the registry of them."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from numpy.typing import NDArray

from embedshift.clusters import Tree
from embedshift.figures import style
from embedshift.gallery import GalleryImage
from embedshift.metrics import METRICS, RADAR_METRICS
from embedshift.registry import Registry

Values = NDArray[np.float64]


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
        draws: Views per image and augmentation.
    """

    summary: pl.DataFrame
    ranking: pl.DataFrame
    pairwise: pl.DataFrame
    clusters: pl.DataFrame
    distances: Values
    tree: Tree
    rows: pl.LazyFrame
    augmentations: list[str]
    encoder: str
    images: int
    seed: int
    gallery: tuple[GalleryImage, ...] = ()
    draws: int = 1

    @property
    def colours(self) -> dict[str, str]:
        """Augmentation → its colour, the same in every figure."""
        return style.colours(self.augmentations)

    def values(self, augmentation: str, metric: str) -> Values:
        """One augmentation's values of one metric over images and draws, float64 `[N]`, without null and NaN."""
        part = self.rows.filter(pl.col("view") == augmentation).select(pl.col(metric).cast(pl.Float64).fill_nan(None))
        return part.drop_nulls().collect()[metric].to_numpy()

    def statistic(self, name: str, metric: str) -> Values:
        """A column of the summary for one metric, float64 `[A]` in suite order; NaN where it does not exist."""
        part = self.summary.filter(pl.col("metric") == metric)
        found = dict(part.select("augmentation", name).iter_rows())
        return np.array([found.get(a) for a in self.augmentations], dtype=np.float64)

    def performance(self) -> tuple[list[str], Values]:
        """The radar metrics that this encoder has, and their means `[M, A]` in suite order.

        A metric without a single mean (attention similarity of an encoder without attention) is left out.
        """
        means = {metric: self.statistic("mean", metric) for metric in RADAR_METRICS}
        there = {metric: values for metric, values in means.items() if not np.isnan(values).all()}
        return list(there), np.array(list(there.values())).reshape(len(there), len(self.augmentations))

    def by_rank(self) -> list[str]:
        """Augmentations from least changed to most."""
        return self.ranking.sort("rank", nulls_last=True)["augmentation"].to_list()

    def caption(self, *notes: str) -> str:
        """The line below every figure: encoder, number of images, and how to read the figure."""
        count = f"n = {self.images:,} image{'s' if self.images != 1 else ''}"
        draws = f" × {self.draws} draws" if self.draws > 1 else ""
        return " · ".join([style.human(self.encoder.replace("_", "\0"), 70).replace("\0", "_"), count + draws, *notes])

    def caption_of_means(self, *notes: str) -> str:
        """The caption of a figure of the radar metrics: it names those that do not exist here."""
        lost = [METRICS[name].label for name in RADAR_METRICS if name not in self.performance()[0]]
        return self.caption(*notes, *([f"not available for this encoder: {', '.join(lost)}"] if lost else []))


@dataclass(frozen=True)
class PaperFigure:
    """One figure of the paper.

    Args:
        name: As the command line names it, "dendrogram".
        number: The paper's number, two digits first, "04d"; files are called fig<number>_<name>.
        title: One line.
        draw: Tables → matplotlib Figure; saves nothing.
        pictures: Images of `FigureInput.gallery` that it shows where none are chosen; 0 = it shows no pictures.
    """

    name: str
    number: str
    title: str
    draw: Callable[[FigureInput], Figure]
    pictures: int = 0

    @property
    def shows_pictures(self) -> bool:
        """Whether it needs `FigureInput.gallery`."""
        return self.pictures > 0

    @property
    def stem(self) -> str:
        """Its file's name without the ending: "fig04d_dendrogram"."""
        return f"fig{self.number}_{self.name}"


FIGURES: Registry[PaperFigure] = Registry("figure")

Draw = Callable[[FigureInput], Figure]


def figure(name: str, number: str, title: str, *, pictures: int = 0) -> Callable[[Callable[..., Figure]], Draw]:
    """Registers the decorated function `(data, title) -> Figure` in `FIGURES`; it is always called in our style."""

    def register(draw: Callable[[FigureInput, str], Figure]) -> Draw:
        @functools.wraps(draw)
        def styled(data: FigureInput) -> Figure:
            with style.context():
                return draw(data, title)

        FIGURES.add(name, PaperFigure(name, number, title, styled, pictures))
        return styled

    return register
