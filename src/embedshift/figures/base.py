"""The input and the declaration of a figure, and the registry of figures."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from embedshift.arrays import Values
from embedshift.errors import UsageError
from embedshift.figures import style
from embedshift.registry import METRICS, Registry, import_parts, questions
from embedshift.statistics.strengths import ONE_LEVEL, by_family
from embedshift.statistics.summary import COSINE, RADAR_METRICS, ranked
from embedshift.store.reader import Reader
from embedshift.store.redraw import RedrawnImage


@dataclass(frozen=True)
class FigureInput:
    """One study, and a few of its images.

    Args:
        reader: The study. Never read `embedding` from its rows.
        drawn: Images with their views, for figures that show images; empty if the sources are gone.
    """

    reader: Reader
    drawn: tuple[RedrawnImage, ...] = ()

    @functools.cached_property
    def summary(self) -> pl.DataFrame:
        """The table `summary` of the shown augmentations."""
        return self._shown_rows(self.need("summary"))

    @functools.cached_property
    def ranking(self) -> pl.DataFrame:
        """The table `ranking` of the shown augmentations, with ranks among these."""
        return ranked(self._shown_rows(self.need("ranking")))

    @functools.cached_property
    def rows(self) -> pl.LazyFrame:
        """The rows, as a lazy frame."""
        return self.reader.rows()

    @functools.cached_property
    def images(self) -> int:
        """Number of measured images."""
        return sum(record.images for record in self.reader.records)

    @functools.cached_property
    def augmentations(self) -> list[str]:
        """Names of the shown augmentations, in suite order: all, or one view a family, the nearest to its tolerance."""
        if not self.shows_one_level:
            return self.reader.augmentations
        tolerances = by_family(self.reader.table("tolerance"))
        return [family.nearest(tolerances.get(family.name, {}).get("value")) for family in self.reader.families]

    @property
    def shows_one_level(self) -> bool:
        """Whether one level of each family is shown in place of all augmentations."""
        return bool(self.reader.families) and not self.reader.compares_all

    def by_shift(self) -> list[str]:
        """Returns the shown augmentations that have a mean cosine similarity, the one that moves most first."""
        cosine = self.summary.filter((pl.col("metric") == COSINE) & pl.col("mean").is_not_null())
        return cosine.sort("mean", maintain_order=True)["augmentation"].to_list()

    def baseline(self, metric: str) -> float | None:
        """Returns a metric's baseline; None if there is no relative shift."""
        rows = self.summary.filter((pl.col("metric") == metric) & pl.col("relative_shift").is_not_null())
        return None if rows.is_empty() else float(rows["baseline"][0])

    @property
    def group_count(self) -> int:
        """Number of groups of measured images; where images are independent, each is a group of its own."""
        return self.reader.info.groups.count if self.reader.info.groups else self.images

    @property
    def group_word(self) -> str:
        """What intervals are over: "group" or "image"."""
        return "group" if self.reader.info.groups else "image"

    def groups_with(self, metric: str) -> int:
        """Returns the number of groups, or images, that have a metric under every shown augmentation."""
        return int(self.statistic(f"{self.group_word}s", metric).min(initial=self.group_count))

    @property
    def seed(self) -> int:
        """The study's seed, for figures that draw a sample."""
        return self.reader.info.seed

    @property
    def draws(self) -> int:
        """Views per image and augmentation."""
        return self.reader.info.draws

    @property
    def colours(self) -> dict[str, str]:
        """Augmentation → its colour, the same in every figure."""
        return style.colours(self.augmentations)

    def table(self, name: str) -> pl.DataFrame | None:
        """Returns a table of the shown augmentations by its name; None if it does not exist or is empty."""
        table = self.reader.table(name)
        return None if table is None or table.is_empty() else self._shown_rows(table)

    def _shown_rows(self, table: pl.DataFrame) -> pl.DataFrame:
        if "augmentation" not in table.columns or not self.shows_one_level:
            return table
        return table.filter(pl.col("augmentation").is_in(self.augmentations))

    def need(self, name: str) -> pl.DataFrame:
        """Returns a table by its name; UsageError if the study does not have it."""
        return self.reader.need(name)

    def metrics_needing(self, *needs: str) -> list[str]:
        """Returns the metrics with one of these needs that have a mean, in the order of the summary."""
        present = self.summary.drop_nulls("mean")["metric"].unique(maintain_order=True)
        return [name for name in present if name in METRICS and METRICS[name].needs in needs]

    def values(self, augmentation: str, metric: str) -> Values:
        """Returns one metric under one augmentation over images and draws, float64 `[N]`, without null and NaN."""
        part = self.rows.filter(pl.col("view") == augmentation).select(pl.col(metric).cast(pl.Float64).fill_nan(None))
        return part.drop_nulls().collect()[metric].to_numpy()

    def statistic(self, name: str, metric: str) -> Values:
        """Returns a column of the summary for one metric, float64 `[A]` in suite order; NaN where it is missing."""
        part = self.summary.filter(pl.col("metric") == metric)
        by_augmentation = dict(part.select("augmentation", name).iter_rows())
        return np.array([by_augmentation.get(a) for a in self.augmentations], dtype=np.float64)

    def performance(self) -> tuple[list[str], Values]:
        """The radar metrics that have any mean with this encoder, and their means `[M, A]` in suite order."""
        means = {metric: self.statistic("mean", metric) for metric in RADAR_METRICS}
        present = {metric: values for metric, values in means.items() if not np.isnan(values).all()}
        return list(present), np.array(list(present.values())).reshape(len(present), len(self.augmentations))

    def by_rank(self) -> list[str]:
        """Augmentations from least to most changed."""
        return self.ranking.sort("rank", nulls_last=True)["augmentation"].to_list()

    def caption(self, *notes: str, every: bool = False) -> str:
        """Returns the line below a figure: encoder, number of images, and how to read the figure.

        Args:
            notes: How to read it.
            every: Whether it shows every level of a family even if there are many.
        """
        count = f"n = {self.images:,} image{'s' if self.images != 1 else ''}"
        count += f" in {self.group_count:,} groups" if self.reader.info.groups else ""
        draws = f" × {self.draws} draws" if self.draws > 1 else ""
        name = self.reader.naming.setting(self.reader.info.encoder.name)
        encoder = f"{name} ({self.reader.info.encoder.precision})"
        chosen = [ONE_LEVEL] if self.shows_one_level and not every else []
        return " · ".join([style.verbatim(encoder, 70), count + draws, *notes, *chosen])

    def caption_of_means(self, *notes: str) -> str:
        """Returns the caption of a figure of the radar metrics, which names missing ones."""
        absent = {*self.reader.metrics} - {*self.performance()[0]}
        missing = [METRICS[name].label for name in RADAR_METRICS if name in absent]
        return self.caption(*notes, *([f"not available for this encoder: {', '.join(missing)}"] if missing else []))


@dataclass(frozen=True)
class FigureKind:
    """The declaration of a figure, of the paper or our own."""

    name: str
    number: str
    title: str
    draw: Callable[[FigureInput], Figure]
    images: int = 0
    single: bool = False
    shows_attention: bool = False
    section: bool = False
    without_images: bool = False
    is_available: Callable[[FigureInput], object] = lambda _: True
    candidates: Callable[[Reader], Sequence[str]] | None = None

    @property
    def shows_images(self) -> bool:
        """Whether it needs `FigureInput.drawn`."""
        return self.images > 0

    @property
    def question(self) -> str:
        """The name of the question that defines it in `figures.py`."""
        return self.draw.__module__.split(".")[-2]

    @property
    def stem(self) -> str:
        """Its file's name without the ending: "fig04d_dendrogram"."""
        return f"fig{self.number}_{self.name}"


FIGURES: Registry[FigureKind] = Registry("figure", lambda: import_parts("figures"))

Draw = Callable[[FigureInput], Figure]


def figure(name: str, **options: Any) -> Callable[[Callable[..., Figure]], Draw]:
    """Registers the decorated function `(data, title) -> Figure` in `FIGURES` and applies our style.

    The options are the optional fields of `FigureKind`; its question declares number and title.
    """
    declared = {key: entry for question in questions() for key, entry in question.figures.items()}
    if name not in declared:
        raise UsageError(f"the figure {name!r} is declared by no question: name it in `figures` of a `Question`")
    number, title = declared[name]

    def register(draw: Callable[[FigureInput, str], Figure]) -> Draw:
        @functools.wraps(draw)
        def styled(data: FigureInput) -> Figure:
            with style.context():
                return draw(data, title)

        FIGURES.add(name, FigureKind(name, number, title, styled, **options))
        return styled

    return register


def has_table(name: str) -> Callable[[FigureInput], bool]:
    """Returns a function for `is_available`: whether the study has a table with rows."""
    return lambda data: data.table(name) is not None


def few(data: FigureInput) -> bool:
    """For `is_available`: whether augmentations are few enough for all pairs, or for one panel each."""
    return data.reader.compares_all


def known_figures(names: Sequence[str] | None) -> list[FigureKind]:
    """Returns the named figures, None = all, in the order of their numbers; UsageError for an unknown name."""
    return sorted((FIGURES[name] for name in (FIGURES if names is None else names)), key=lambda kind: kind.number)
