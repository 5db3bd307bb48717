"""A study on disk: its rows and tables. Reading one imports no torch."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from embedshift import depth, tables, words
from embedshift.augmentations import ORIGINAL
from embedshift.clusters import DEFAULT_TREE, Tree, cut, distances_of_means
from embedshift.errors import EmbedshiftError, reason
from embedshift.shards import cka_sums, finished, write_failures, write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

TABLES = ("summary", "ranking", "pairwise", "clusters", "claims")


class Study:
    """What a run left in its folder.

    Args:
        folder: The study's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "study.json"

    def __repr__(self) -> str:
        return f"Study({str(self.folder)!r})"

    def exists(self) -> bool:
        """Whether a run was ever begun here."""
        return self.file.is_file()

    def is_complete(self) -> bool:
        """Whether the run reached its end and its tables are there."""
        if not self.exists() or not self.info()["complete"]:
            return False
        return all((self.folder / "tables" / f"{name}.parquet").is_file() for name in self.table_names)

    def info(self) -> dict[str, Any]:
        """The content of study.json: configuration, encoder, versions, counts."""
        try:
            content: dict[str, Any] = json.loads(self.file.read_text())
        except (OSError, ValueError) as error:
            raise EmbedshiftError(f"{self.folder}: no study here ({reason(error)})", exit_code=2) from error
        return content

    @property
    def augmentations(self) -> list[str]:
        """Names of the augmentations, in suite order."""
        return list(self.info()["augmentations"])

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics, in the order of the columns."""
        return list(self.info()["identity"]["metrics"])

    @property
    def has_vectors(self) -> bool:
        """Whether every row holds its embedding and attention; with `--store metrics` few rows hold the latter."""
        return bool(self.info()["config"].get("store", "all") == "all")

    @property
    def has_layers(self) -> bool:
        """Whether the shift was measured after every block of the encoder."""
        return bool(self.info()["identity"].get("layers"))

    @property
    def phrases(self) -> dict[str, str]:
        """Augmentation → the phrase that its shift was compared with; empty without `--text`."""
        phrases = self.info()["identity"].get("text", {}).get("words", {})
        return {name: phrase for name, phrase in phrases.items() if name != ORIGINAL}

    @property
    def table_names(self) -> tuple[str, ...]:
        """Names of the tables that this study has."""
        layers, words = ("layers",) if self.has_layers else (), ("words", "word_test") if self.phrases else ()
        return (*TABLES, *layers, *words)

    def rows(self) -> pl.LazyFrame:
        """All rows, lazily: one per image, view and draw, in the order of the shards."""
        # A list, since polars would take brackets in the folder's name for a pattern.
        return pl.scan_parquet(sorted((self.folder / "shards").glob("part-*.parquet")), glob=False)

    def image_ids(self, *, with_attention: bool = False) -> set[str]:
        """Names of all measured images, or of those whose attention maps are stored."""
        if not any((self.folder / "shards").glob("part-*.parquet")):
            return set()
        rows = self.rows().filter(pl.col("attention").is_not_null()) if with_attention else self.rows()
        return set(rows.select(pl.col("image_id").unique()).collect()["image_id"])

    def failures(self) -> pl.DataFrame:
        """One row per image that was not measured: image_id, stage, reason."""
        path = self.folder / "failures.parquet"
        if not path.is_file():  # a run that was killed at once
            write_failures(self.folder, finished(self.folder))
        return pl.read_parquet(path, glob=False)

    def summary(self) -> pl.DataFrame:
        """One row per augmentation and metric: n, mean, sd, median, quantiles, bootstrap interval of the mean."""
        return self._table("summary")

    def ranking(self) -> pl.DataFrame:
        """Augmentations by `mean_performance`; rank 1 = least changed."""
        return self._table("ranking")

    def pairwise(self, *, include_original: bool = False) -> pl.DataFrame:
        """Mean cosine distance between the views of the same image, augmentation by augmentation.

        Args:
            include_original: Adds the original view as a first row and column.
        """
        return tables.pairwise(self.rows(), self.augmentations, include_original=include_original)

    def clusters(self, tree: Tree | None = None) -> pl.DataFrame:
        """The cluster of every augmentation and its place in the dendrogram; by default as the run wrote it.

        Both are null where a distance is not a number and no tree can be built.
        """
        if tree is None:
            return self._table("clusters")
        distances, leaves = self.distances(tree), self.leaves(tree)
        if np.isnan(distances).any():
            log.warning("no tree of augmentations: an embedding is zero, so that a distance is not a number")
            nothing = {"cluster": pl.lit(None, pl.Int64), "leaf": pl.lit(None, pl.Int64)}
            return pl.DataFrame({"augmentation": leaves}).with_columns(**nothing)
        return cut(distances, leaves, tree.linkage)

    def claims(self) -> pl.DataFrame:
        """What these images say about the paper's claims: claim, statement, estimate, ci_low, ci_high, verdict."""
        return self._table("claims")

    def layers(self) -> pl.DataFrame:
        """Shift by depth: augmentation, layer (1 = the first block), token, metric, n, mean, ci_low, ci_high.

        Raises:
            EmbedshiftError: when the study was run without `--layers` (exit code 2).
        """
        if not self.has_layers:
            raise EmbedshiftError(f"{self.folder}: no layers here; run the study with --layers", exit_code=2)
        return self._table("layers")

    def words(self) -> pl.DataFrame:
        """Whether shifts point to words: augmentation, word, n, mean, ci_low, ci_high; one row per pair.

        Raises:
            EmbedshiftError: when the study was run without `--text` (exit code 2).
        """
        return self._of_words("words")

    def word_test(self) -> pl.DataFrame:
        """The rank of each augmentation's own word, and a permutation test over all: see `embedshift.words.word_test`.

        Raises:
            EmbedshiftError: when the study was run without `--text` (exit code 2).
        """
        return self._of_words("word_test")

    def _of_words(self, table: str) -> pl.DataFrame:
        if not self.phrases:
            raise EmbedshiftError(f"{self.folder}: no words here; run the study with --text", exit_code=2)
        return self._table(table)

    def leaves(self, tree: Tree) -> list[str]:
        """Names of the tree's leaves, in suite order, the original first where it is one."""
        return [ORIGINAL, *self.augmentations] if tree.include_original else self.augmentations

    def distances(self, tree: Tree) -> NDArray[np.float64]:
        """The distance matrix under the tree `[A, A]`, in the order of `leaves`."""
        if tree.on == "means":
            if not self.has_vectors:
                words = "was run with --store metrics; clusters on means need --store all, which keeps the embeddings"
                raise EmbedshiftError(f"{self.folder} {words}", exit_code=2)
            return distances_of_means(tables.mean_embeddings(self.rows(), self.leaves(tree)), tree.metric)
        table = tables.pairwise(self.rows(), self.augmentations, include_original=tree.include_original)
        return table.drop("augmentation").to_numpy()

    def write_tables(self, tree: Tree = DEFAULT_TREE) -> None:
        """Rebuilds every table from the shards, as CSV and Parquet.

        Args:
            tree: How clusters are made; `pairwise` has the original too where the tree has it.
        """
        # Imports scipy.stats, which takes a third of a second that reading a study does not need.
        from embedshift.claims import claims

        names, seed = self.augmentations, int(self.info()["config"]["seed"])
        clusters = self.clusters(tree)  # first, since it may be refused
        summary = tables.summary(self.rows(), names, self.metrics, seed=seed)
        made = {
            "summary": summary,
            "ranking": tables.ranking(summary),
            "pairwise": tables.pairwise(self.rows(), names, include_original=tree.include_original),
            "clusters": clusters,
            "claims": claims(self.rows(), names, seed=seed),
        }
        if self.has_layers:
            draws, terms = int(self.info()["config"]["draws"]), cka_sums(self.folder)
            made["layers"] = depth.layers(self.rows(), names, terms, draws=draws, seed=seed)
        if self.phrases:
            made["words"] = words.words(self.rows(), names, list(self.phrases), seed=seed)
            made["word_test"] = words.word_test(made["words"], seed=seed)
        (self.folder / "tables").mkdir(exist_ok=True)
        for name, table in made.items():
            write_whole(self.folder / "tables" / f"{name}.csv", table.write_csv)
            write_whole(self.folder / "tables" / f"{name}.parquet", table.write_parquet)

    def is_reported(self) -> bool:
        """Whether `report.html` is there and not older than the measurements."""
        file = self.folder / "report.html"
        return file.is_file() and file.stat().st_mtime_ns >= self.file.stat().st_mtime_ns

    def figure(self, name: str, *, tree: Tree = DEFAULT_TREE, images: int | Sequence[str] | None = None) -> "Figure":
        """One figure of the paper as a matplotlib Figure; `embedshift.figures.save_figures` saves them all.

        Args:
            name: As `embedshift list figures` names it, "dendrogram".
            tree: How augmentations are clustered.
            images: For figures that show pictures: ids, or how many to draw by the study's seed; at most 8.

        Raises:
            EmbedshiftError: for an unknown name, an image that is not in the study, or pictures whose sources are gone.
        """
        from embedshift.figures import draw

        return draw(self, name, tree=tree, images=images)

    def report(self, **options: Any) -> Path:
        """Rebuilds tables, figures and `report.html` from the shards; see `embedshift.report.build_report`.

        Args:
            **options: figures, formats, tree, images, thumbnails.

        Returns:
            The path of `report.html`.
        """
        from embedshift.report import build_report

        return build_report(self, **options)

    def _table(self, name: str) -> pl.DataFrame:
        path = self.folder / "tables" / f"{name}.parquet"
        if not path.is_file():
            raise EmbedshiftError(
                f"{self.folder}: not finished, no table '{name}' yet; run the same command again", exit_code=2
            )
        return pl.read_parquet(path, glob=False)


def load(folder: str | Path) -> Study:
    """The study that a run left in `folder`.

    Raises:
        EmbedshiftError: when there is none.
    """
    study = Study(Path(folder))
    study.info()
    return study
