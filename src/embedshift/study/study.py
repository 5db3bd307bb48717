"""`Study`: what people use in Python, a face over the reader and the tables of its questions."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from embedshift.config import Json
from embedshift.errors import UsageError
from embedshift.registry import QUESTIONS
from embedshift.store.info import read_content, read_info
from embedshift.store.reader import Reader
from embedshift.store.table import tables_of
from embedshift.study.absent import why_not
from embedshift.study.exports import Exports

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from embedshift.questions.shape import Tree
    from embedshift.store.verification import Verification


class Study(Exports):
    """What a run left in its folder.

    Args:
        folder: The study's folder.
    """

    def __repr__(self) -> str:
        return f"Study({str(self.folder)!r})"

    def reader(self, *choices: Any) -> Reader:
        """The study as it is now, for tables and figures made with these choices."""
        return Reader(self.folder, tuple(choice for choice in choices if choice is not None))

    def exists(self) -> bool:
        """Whether a run was ever begun here."""
        return self.reader().exists()

    def is_complete(self) -> bool:
        """Whether the run reached its end and its tables are there."""
        return self.reader().is_complete()

    def is_reported(self) -> bool:
        """Whether `report.html` is there and not older than the measurements."""
        return self.reader().is_reported()

    def info(self) -> Json:
        """The content of study.json: configuration, encoder, versions, counts."""
        return read_content(self.folder)

    @property
    def augmentations(self) -> list[str]:
        """Names of the augmentations, in suite order."""
        return self.reader().augmentations

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics, in the order of the columns."""
        return self.reader().metrics

    @property
    def table_names(self) -> tuple[str, ...]:
        """Names of the tables that this study has."""
        return self.reader().table_names

    def verify(self) -> "Verification":
        """Reads everything in the folder and says what is whole and what is damaged."""
        from embedshift.store.verification import verify

        return verify(self.folder)

    def rows(self) -> pl.LazyFrame:
        """All rows, lazily: one per image, view and draw, in the order of the shards."""
        return self.reader().rows()

    def failures(self) -> pl.DataFrame:
        """One row per image that was not measured: image_id, stage, reason, transient."""
        return self.reader().failures()

    def table(self, name: str) -> pl.DataFrame:
        """A table as the run, or the last report, wrote it.

        Args:
            name: One of `table_names`.

        Raises:
            UsageError: when the study does not have it.
        """
        reader = self.reader()
        found = reader.table(name)
        if found is None:
            raise UsageError(f"{self.folder}: {why_not(reader, name)}")
        return found

    def summary(self) -> pl.DataFrame:
        """One row per augmentation and metric: its mean with an interval, its spread, its floor and its share."""
        return self.table("summary")

    def ranking(self) -> pl.DataFrame:
        """Augmentations by `mean_performance`, with its interval and floor; rank 1 = least changed."""
        return self.table("ranking")

    def differences(self) -> pl.DataFrame:
        """All pairs of augmentations, metric by metric, paired by image: which are settled."""
        return self.table("differences")

    def directions(self) -> pl.DataFrame:
        """Cosine between the mean shifts of two augmentations: `augmentation` and one column per augmentation."""
        return self.table("directions")

    def strength(self) -> pl.DataFrame:
        """The summary by family, level and metric, of a suite of families of rising strength."""
        return self.table("strength")

    def tolerance(self) -> pl.DataFrame:
        """Per family the strength at which the mean share of the cosine reaches 0.1, with its interval."""
        return self.table("tolerance")

    def search(
        self,
        *,
        queries: int | str | None = None,
        fmr: Sequence[float | str] | None = None,
        gallery: str | Path | None = None,
    ) -> pl.DataFrame:
        """Recall, mean reciprocal rank, overlap of neighbours and AUC by augmentation, as they are or made again.

        Args:
            queries: Images whose views are searched for, the first in the study's order; "all" = every one.
            fmr: False-match rates of the thresholds for duplicates.
            gallery: More images to find among: another study, or a Parquet or npy file of vectors; "" = none.

        Returns:
            `augmentation, metric, n, value, ci_low, ci_high`.
        """
        if queries is not None or fmr is not None or gallery is not None:
            self._search_again(None if queries is None else str(queries), fmr and tuple(fmr), gallery)
        return self.table("search")

    def search_ranks(self) -> pl.DataFrame:
        """For every view that was searched for the rank of its original, and what was found instead."""
        return self.table("search_ranks")

    def thresholds(self) -> pl.DataFrame:
        """Cosines from which two images count as the same, by false-match rate, with intervals."""
        return self.table("thresholds")

    def duplicates(self) -> pl.DataFrame:
        """Pairs of different images of the set whose cosine reaches the strictest threshold, the nearest first."""
        return self.table("duplicates")

    def pairwise(self, *, include_original: bool = False) -> pl.DataFrame:
        """Mean cosine distance between the views of the same image, augmentation by augmentation.

        Args:
            include_original: Adds the original view as a first row and column.
        """
        tree = QUESTIONS["shape"].choices
        assert tree is not None
        return self._made("pairwise", tree(include_original=include_original))

    def clusters(self, tree: "Tree | None" = None) -> pl.DataFrame:
        """The cluster of every augmentation and its place in the dendrogram; by default as the run wrote it.

        Both are null where a distance is not a number and no tree can be built.
        """
        return self.table("clusters") if tree is None else self._made("clusters", tree)

    def claims(self) -> pl.DataFrame:
        """What these images say about the paper's claims, with p values and what a verdict takes."""
        return self.table("claims")

    def layers(self) -> pl.DataFrame:
        """Shift by depth: augmentation, layer (1 = the first block), token, metric, n, mean, ci_low, ci_high."""
        return self.table("layers")

    def heads(self) -> pl.DataFrame:
        """Which heads and MLPs carry the shift: augmentation, layer (0 = none), part, share, ci_low, ci_high."""
        return self.table("heads")

    def words(self) -> pl.DataFrame:
        """Whether shifts point to words: augmentation, word, n, mean, ci_low, ci_high; one row per pair."""
        return self.table("words")

    def maps(self) -> pl.DataFrame:
        """How far maps of what embeddings come from change: augmentation, map, metric, n, mean, ci_low, ci_high."""
        return self.table("maps")

    def word_test(self) -> pl.DataFrame:
        """The rank of each augmentation's own word, and a permutation test over all."""
        return self.table("word_test")

    def text_search(self) -> pl.DataFrame:
        """How well captions find their own images before and after: recall@1, @5, @10 and mrr by augmentation."""
        return self.table("text_search")

    def zero_shot(self) -> pl.DataFrame:
        """The share of views that keep the class of their original, and the class's margin, by augmentation."""
        return self.table("zero_shot")

    def write_tables(self, tree: "Tree | None" = None) -> None:
        """Rebuilds every table from the shards, as CSV and Parquet.

        Args:
            tree: How clusters are made; `pairwise` has the original too where the tree has it.
        """
        from embedshift.store.tables import write_tables

        write_tables(self.reader(tree))

    def figure(self, name: str, *, tree: "Tree | None" = None, images: int | Sequence[str] | None = None) -> "Figure":
        """One figure as a matplotlib Figure; `embedshift.figures.save_figures` saves them all.

        Args:
            name: As `embedshift list figures` names it, "dendrogram".
            tree: How augmentations are clustered.
            images: For figures that show images: ids, or how many to draw by the study's seed; at most 8.

        Raises:
            EmbedshiftError: for an unknown name, an image that is not in the study, or images whose sources are gone.
        """
        from embedshift.figures import draw

        return draw(self.reader(tree), name, images=images)

    def report(
        self,
        *,
        figures: Sequence[str] | None = None,
        formats: Sequence[str] = ("png", "svg"),
        tree: "Tree | None" = None,
        images: Sequence[str] | int | None = None,
        pictures: bool = True,
        images_root: str | Path | None = None,
        choices: Sequence[Any] = (),
    ) -> Path:
        """Rebuilds tables, figures and `report.html` from the shards.

        Args:
            figures: Names, as `embedshift list figures` has them; None = all.
            formats: Of the figures' files: png, svg, pdf.
            tree: How augmentations are clustered.
            images: For figures that show images: ids, or how many to draw by the study's seed.
            pictures: Whether images may be shown: if not, neither the page nor `figures/` gets any, and a hash stands
                in the place of every image id.
            images_root: The folder that holds the images here; by default they are looked for where the run read them,
                if a run of this user did.
            choices: What else is chosen: instances of the questions' `choices`.

        Returns:
            The path of `report.html`.
        """
        from embedshift.report import build_report

        root = None if images_root is None else Path(images_root).expanduser()
        if root is not None and not root.is_dir():
            raise UsageError(f"`images_root`: {root}: no such folder")
        reader = replace(self.reader(tree, *choices), pictures=pictures, images_root=root)
        return build_report(reader, figures=figures, formats=formats, images=images)

    def _search_again(self, queries: str | None, fmr: Any, gallery: str | Path | None) -> None:
        """Makes the tables of the search, and those that read them, with other choices."""
        from embedshift.store.tables import tables_after, write_tables

        question = QUESTIONS["search"]
        assert question.choices is not None
        reader = self.reader(question.choices(queries, fmr, None if gallery is None else str(gallery)))
        if "search" not in reader.table_names:
            raise UsageError(f"{self.folder}: {why_not(reader, 'search')}")
        if not reader.info.complete:
            raise UsageError(f"{self.folder}: not finished; run the same command again first")
        write_tables(reader, tables_after(reader, question))

    def _made(self, name: str, tree: "Tree") -> pl.DataFrame:
        """A table made anew with another tree."""
        reader = self.reader(tree)
        made = {table.name: table.make for table in tables_of(reader.questions) if table.possible(reader)}
        if name not in made:
            raise UsageError(f"{self.folder}: {why_not(reader, name)}")
        return made[name](reader)


def load(folder: str | Path) -> Study:
    """The study that a run left in `folder`.

    Raises:
        UsageError: when there is none, or one that another version of embedshift wrote.
    """
    read_info(Path(folder))
    return Study(Path(folder))
