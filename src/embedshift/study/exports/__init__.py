"""Exports: the results of a study in the formats of other libraries, and as text for a model card."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from embedshift.config.files import output_path
from embedshift.study.exports.media import DEFAULT_MEDIA, Media, open_reader

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

    def to_fiftyone(
        self,
        out: str | Path,
        *,
        media: Media = DEFAULT_MEDIA,
        images: int | Sequence[str] | None = None,
        embeddings: bool = True,
        images_root: str | Path | None = None,
    ) -> Path:
        """Writes a dataset in the format `FiftyOneDataset`, which FiftyOne imports. FiftyOne need not be installed.

        Each augmentation is a field with the means of an image's metrics over its draws, and with `relative_shift`:
        the shift as a fraction of the distance to another image. Images that were not measured have the tag "failed"
        and the field `failure`. FiftyOne loads the folder by
        `fo.Dataset.from_dir(out, dataset_type=fo.types.FiftyOneDataset)`.

        Args:
            out: A new or empty folder.
            media: "originals": samples name the files where they lie, and nothing is copied. "copies": the originals
                are copied into `out/data`, also those in archives. "views": a group per image, with the original and
                every view of draw 0 as the encoder saw them, drawn again into `out/data`, and their attention maps.
            images: Ids, or how many images to draw by the study's seed. None = all, and all that failed.
            embeddings: Whether samples have the field `embedding`, float32 `[D]`.
            images_root: As in `to_datasets`.

        Returns:
            The folder.

        Raises:
            UsageError: For a folder that holds files, an unknown image, images that may not be read, and for images in
                archives with "originals".

        Example:
            >>> import json, tempfile
            >>> out = study.to_fiftyone(Path(tempfile.mkdtemp()) / "fiftyone")
            >>> sample = json.loads((out / "samples.json").read_text())["samples"][0]
            >>> sample["image_id"], round(sample["noise"]["relative_shift"], 2)
            ('image-00000.png', 0.85)
        """
        from embedshift.study.exports.fiftyone import to_fiftyone

        return to_fiftyone(
            open_reader(self.folder, images_root), output_path(out), media=media, images=images, embeddings=embeddings
        )

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
