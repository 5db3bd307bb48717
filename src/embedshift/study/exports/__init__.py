"""Exports: the results of a study in the formats of other libraries, and as text for a model card."""

from pathlib import Path
from typing import TYPE_CHECKING

from embedshift.study.exports.rows import open_reader

if TYPE_CHECKING:
    import datasets
    import pandas

__all__ = ["Exports"]


class Exports:
    """The exports of a study. `Study` has all of these methods.

    Args:
        folder: The study's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def to_pandas(self, *, embeddings: bool = False) -> "pandas.DataFrame":
        """Returns all rows as a pandas DataFrame: one per image, view and draw.

        The columns are `image_id, view, draw, view_seed`, every metric (float64, NaN on the original) and `caption`, in
        the order of the shards. The lists of a row stay in `rows()`. For a table of means use
        `study.summary().to_pandas()`.

        Args:
            embeddings: Adds the column `embedding`, float32 `[D]` a row.

        Raises:
            EmbedshiftError: If pandas is not installed, or if nothing is measured yet.

        Example:
            >>> frame = study.to_pandas()
            >>> frame.groupby("view")["cosine_similarity"].mean().round(3).to_dict()["blur"]
            0.991
            >>> study.to_pandas(embeddings=True)["embedding"][0].shape
            (8,)
        """
        from embedshift.study.exports.rows import to_pandas

        return to_pandas(open_reader(self.folder), embeddings=embeddings)

    def to_datasets(
        self, *, images: bool = True, embeddings: bool = True, images_root: str | Path | None = None
    ) -> "datasets.Dataset":
        """Returns all rows as a `Dataset` of Hugging Face `datasets`: one row per image, view and draw.

        Args:
            images: Adds the column `image`: the file of the **original**, also in the rows of its views. `datasets`
                decodes it when a row is read. It is None for an image that is not a readable file of its own, as in an
                archive.
            embeddings: Adds the column `embedding`, float32 `[D]`.
            images_root: The folder that holds the images on this machine. By default they are read from where the run
                read them, if a run of this user did.

        Returns:
            The dataset, held in memory, with the columns of `to_pandas` and those that are added.

        Raises:
            MissingExtra: If the extra `datasets` is not installed.

        Example:
            >>> rows = study.to_datasets()
            >>> type(rows.features["image"]).__name__, rows.num_rows
            ('Image', 30)
            >>> rows[0]["image"].size, len(rows[0]["embedding"])
            ((40, 32), 8)
        """
        from embedshift.study.exports.rows import to_datasets

        return to_datasets(open_reader(self.folder, images_root), images=images, embeddings=embeddings)

    def card(self) -> str:
        """Returns a Markdown section for the model card of the encoder.

        It says what was measured, has a table of relative shifts with 95 % intervals and of the recall of a search if
        the study has one, the limits, the command that repeats the measurement, and a citation. Names are escaped, and
        no path of this machine is in it. It has no front matter, so that it fits into a card that exists.

        Example:
            >>> print(study.card().splitlines()[0])
            ## How far the embedding moves when an image changes
        """
        from embedshift.study.exports.card import card

        return card(open_reader(self.folder))
