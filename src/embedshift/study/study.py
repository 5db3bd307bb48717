"""`Study`: the Python interface to a study's folder, on top of the reader and the tables of the questions."""

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

    from embedshift.questions.clusters import Tree
    from embedshift.store.verification import Verification


class Study(Exports):
    """The results of a run, read from its folder; `embedshift.run` and `embedshift.load` return it.

    Args:
        folder: The study's folder.
    """

    def __repr__(self) -> str:
        return f"Study({str(self.folder)!r})"

    def reader(self, *choices: Any) -> Reader:
        """Returns a reader of the folder as it is now; `choices` are those of the questions, for tables and figures."""
        return Reader(self.folder, tuple(choice for choice in choices if choice is not None))

    def exists(self) -> bool:
        """Returns whether a run was ever started in this folder."""
        return self.reader().exists()

    def is_complete(self) -> bool:
        """Returns whether the run has finished and all its tables exist."""
        return self.reader().is_complete()

    def is_reported(self) -> bool:
        """Returns whether `report.html` exists and is not older than the measurements."""
        return self.reader().is_reported()

    def info(self) -> Json:
        """Returns the content of study.json: settings, encoder, versions and counts."""
        return read_content(self.folder)

    @property
    def augmentations(self) -> list[str]:
        """Names of the augmentations, in the order of the suite."""
        return self.reader().augmentations

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics, in the order of their columns."""
        return self.reader().metrics

    @property
    def table_names(self) -> tuple[str, ...]:
        """Names of the tables that this study has."""
        return self.reader().table_names

    def verify(self) -> "Verification":
        """Reads every file of the study and reports which are whole and which are damaged."""
        from embedshift.store.verification import verify

        return verify(self.folder)

    def rows(self) -> pl.LazyFrame:
        """All rows as a lazy frame: one row per image, view and draw, in the order of the shards."""
        return self.reader().rows()

    def failures(self) -> pl.DataFrame:
        """One row per image that was not measured: `image_id, stage, reason, transient`."""
        return self.reader().failures()

    def table(self, name: str) -> pl.DataFrame:
        """Reads a table as the run, or the latest report, wrote it.

        Args:
            name: One of `table_names`.

        Raises:
            UsageError: The study does not have it. All methods below that return a table raise this error too.
        """
        reader = self.reader()
        found = reader.table(name)
        if found is None:
            raise UsageError(f"{self.folder}: {why_not(reader, name)}")
        return found

    def summary(self) -> pl.DataFrame:
        """One row per augmentation and metric: mean with 95 % interval, spread, baseline and relative shift with interval."""
        return self.table("summary")

    def ranking(self) -> pl.DataFrame:
        """Augmentations by `mean_performance`, with interval and baseline; rank 1 changes the embedding least."""
        return self.table("ranking")

    def differences(self) -> pl.DataFrame:
        """One row per metric and pair of augmentations: the difference paired by image, and whether it is significant."""
        return self.table("differences")

    def directions(self) -> pl.DataFrame:
        """Cosines between the mean shifts of augmentations: column `augmentation`, then one column per augmentation."""
        return self.table("directions")

    def strength(self) -> pl.DataFrame:
        """One row per family, level and metric, for suites whose families have levels of rising strength."""
        return self.table("strength")

    def tolerance(self) -> pl.DataFrame:
        """One row per family: the strength at which the mean relative shift of the cosine reaches 0.1, with its interval."""
        return self.table("tolerance")

    def search(
        self,
        *,
        queries: int | str | None = None,
        false_match_rate: Sequence[float | str] | None = None,
        gallery: str | Path | None = None,
    ) -> pl.DataFrame:
        """Search quality by augmentation: recall, mean reciprocal rank, overlap of neighbours and AUC.

        Args:
            queries: How many images to search with, in the study's order; "all" = every one. None = as before.
            false_match_rate: False-match rates of the thresholds for duplicates, between 0 and 1. None = as before.
            gallery: More images to search among: another study, or a Parquet or npy file of vectors; "" = none.

        Returns:
            `augmentation, metric, n, value, ci_low, ci_high`; computed again if an argument is given.
        """
        if queries is not None or false_match_rate is not None or gallery is not None:
            self._search_again(
                None if queries is None else str(queries), false_match_rate and tuple(false_match_rate), gallery
            )
        return self.table("search")

    def search_ranks(self) -> pl.DataFrame:
        """One row per view used as a query: the rank of its original, and the image found instead."""
        return self.table("search_ranks")

    def thresholds(self) -> pl.DataFrame:
        """Cosine thresholds above which two images count as the same, by false-match rate, with intervals."""
        return self.table("thresholds")

    def duplicates(self) -> pl.DataFrame:
        """Pairs of different images whose cosine reaches the strictest threshold, the nearest pair first."""
        return self.table("duplicates")

    def pairwise(self, *, include_original: bool = False) -> pl.DataFrame:
        """Mean cosine distance between the views of one image, for each pair of augmentations.

        Args:
            include_original: Add the original view as first row and column.
        """
        tree = QUESTIONS["clusters"].choices
        assert tree is not None
        return self._made("pairwise", tree(include_original=include_original))

    def clusters(self, tree: "Tree | None" = None) -> pl.DataFrame:
        """The cluster and the dendrogram leaf of each augmentation; `tree` computes them again with its settings.

        Both are null if a distance is NaN, so that no tree can be built.
        """
        return self.table("clusters") if tree is None else self._made("clusters", tree)

    def claims(self) -> pl.DataFrame:
        """One row per claim of the paper: its estimate on these images, interval, p values and verdict."""
        return self.table("claims")

    def layers(self) -> pl.DataFrame:
        """Shift by depth: `augmentation, layer, token, metric, n, mean, ci_low, ci_high`; layer 1 = the first block."""
        return self.table("layers")

    def heads(self) -> pl.DataFrame:
        """Contribution of heads and MLPs to the shift: `augmentation, layer, part, relative_shift, ci_low, ci_high`."""
        return self.table("heads")

    def words(self) -> pl.DataFrame:
        """Alignment of shifts with words: `augmentation, word, n, mean, ci_low, ci_high`."""
        return self.table("words")

    def maps(self) -> pl.DataFrame:
        """Change of relevance and token maps: `augmentation, map, metric, n, mean, ci_low, ci_high`."""
        return self.table("maps")

    def word_test(self) -> pl.DataFrame:
        """The rank of each augmentation's own word among all words, and a permutation test over all augmentations."""
        return self.table("word_test")

    def text_search(self) -> pl.DataFrame:
        """Search by caption before and after each augmentation: recall@1, recall@5, recall@10 and mrr."""
        return self.table("text_search")

    def zero_shot(self) -> pl.DataFrame:
        """By augmentation: the relative shift of views that keep their original's class, and the margin of that class."""
        return self.table("zero_shot")

    def write_tables(self, tree: "Tree | None" = None) -> None:
        """Computes every table again from the shards and writes it as CSV and Parquet.

        Args:
            tree: Settings of the clustering; `pairwise` includes the original if the tree does.
        """
        from embedshift.store.tables import write_tables

        write_tables(self.reader(tree))

    def figure(self, name: str, *, tree: "Tree | None" = None, images: int | Sequence[str] | None = None) -> "Figure":
        """Draws one figure with matplotlib; `embedshift.figures.save_figures` saves all of them.

        Args:
            name: A name from `embedshift list figures`, such as "dendrogram".
            tree: Settings of the clustering.
            images: For figures that show images: ids, or how many to draw by the study's seed; at most 8.

        Raises:
            EmbedshiftError: The name is unknown, or an image is not in the study or cannot be read any more.
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
        """Computes tables, figures and `report.html` again from the shards.

        Args:
            figures: Names from `embedshift list figures`; None = all.
            formats: File formats of the figures: "png", "svg", "pdf".
            tree: Settings of the clustering.
            images: For figures that show images: ids, or how many to draw by the study's seed.
            pictures: Whether images may be shown. If False, neither the page nor `figures/` contains any, and a hash
                replaces every image id.
            images_root: The folder that holds the images on this machine; None = where the run read them, if this user
                ran it.
            choices: More choices for tables and report: instances of the questions' `choices`.

        Returns:
            The path of `report.html`.
        """
        from embedshift.report import build_report

        root = None if images_root is None else Path(images_root).expanduser()
        if root is not None and not root.is_dir():
            raise UsageError(f"`images_root`: {root}: no such folder")
        reader = replace(self.reader(tree, *choices), pictures=pictures, images_root=root)
        return build_report(reader, figures=figures, formats=formats, images=images)

    def _search_again(self, queries: str | None, false_match_rate: Any, gallery: str | Path | None) -> None:
        """Computes the search tables, and the tables that read them, again with other choices."""
        from embedshift.store.tables import tables_after, write_tables

        question = QUESTIONS["search"]
        assert question.choices is not None
        reader = self.reader(question.choices(queries, false_match_rate, None if gallery is None else str(gallery)))
        if "search" not in reader.table_names:
            raise UsageError(f"{self.folder}: {why_not(reader, 'search')}")
        if not reader.info.complete:
            raise UsageError(f"{self.folder}: not finished; run the same command again first")
        write_tables(reader, tables_after(reader, question))

    def _made(self, name: str, tree: "Tree") -> pl.DataFrame:
        """Computes a table again with another tree."""
        reader = self.reader(tree)
        made = {table.name: table.make for table in tables_of(reader.questions) if table.is_available(reader)}
        if name not in made:
            raise UsageError(f"{self.folder}: {why_not(reader, name)}")
        return made[name](reader)


def load(folder: str | Path) -> Study:
    """Opens the study in `folder`.

    Raises:
        UsageError: The folder holds no study, or one written by another version of embedshift.
    """
    read_info(Path(folder))
    return Study(Path(folder))
