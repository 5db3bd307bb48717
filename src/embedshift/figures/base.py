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
        layers: As `Study.layers`; None for a study without.
        words: As `Study.words`; None for a study without.
        word_test: As `Study.word_test`; None for a study without.
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
    layers: pl.DataFrame | None = None
    words: pl.DataFrame | None = None
    word_test: pl.DataFrame | None = None

    @property
    def colours(self) -> dict[str, str]:
        """Augmentation → its colour, the same in every figure."""
        return style.colours(self.augmentations)

    @property
    def text_metrics(self) -> list[str] | None:
        """The metrics against captions and class names that the study has; None for a study without."""
        found = [name for name in self.summary["metric"].unique(maintain_order=True) if METRICS[name].family == "text"]
        return found or None

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

    @property
    def attention_metrics(self) -> list[str] | None:
        """The metrics of attention that have a mean here; None where there are none beside the paper's."""
        there = self.summary.drop_nulls("mean")["metric"].unique(maintain_order=True)
        found = [name for name in there if name in METRICS and METRICS[name].of_attention]
        return found if any(METRICS[name].optional for name in found) else None

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
    """One figure of the paper, or one of ours.

    Args:
        name: As the command line names it, "dendrogram".
        number: The paper's number, two digits first, "04d", or one beyond it; files are called fig<number>_<name>.
        title: One line.
        draw: Tables → matplotlib Figure; saves nothing.
        pictures: Images of `FigureInput.gallery` that it shows where none are chosen; 0 = it shows no pictures.
        of_attention: Whether these pictures should have attention maps.
        needs: The field of `FigureInput` that it is drawn from, where only some studies have it.
    """

    name: str
    number: str
    title: str
    draw: Callable[[FigureInput], Figure]
    pictures: int = 0
    of_attention: bool = False
    needs: str = ""

    @property
    def shows_pictures(self) -> bool:
        """Whether it needs `FigureInput.gallery`."""
        return self.pictures > 0

    def is_possible(self, data: FigureInput) -> bool:
        """Whether the study has what it needs."""
        return not self.needs or getattr(data, self.needs) is not None

    @property
    def stem(self) -> str:
        """Its file's name without the ending: "fig04d_dendrogram"."""
        return f"fig{self.number}_{self.name}"


FIGURES: Registry[PaperFigure] = Registry("figure")

Draw = Callable[[FigureInput], Figure]


def figure(
    name: str, number: str, title: str, *, pictures: int = 0, of_attention: bool = False, needs: str = ""
) -> Callable[[Callable[..., Figure]], Draw]:
    """Registers the decorated function `(data, title) -> Figure` in `FIGURES`; it is always called in our style."""

    def register(draw: Callable[[FigureInput, str], Figure]) -> Draw:
        @functools.wraps(draw)
        def styled(data: FigureInput) -> Figure:
            with style.context():
                return draw(data, title)

        FIGURES.add(name, PaperFigure(name, number, title, styled, pictures, of_attention, needs))
        return styled

    return register
