"""Archives of pictures: WebDataset tar shards, and Parquet with the bytes of images in a column."""

import bisect
import collections
import itertools
import os
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import IO, Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from embedshift.config import Json
from embedshift.errors import EmbedshiftError, UsageError, reason
from embedshift.sources.base import CAPTION_ENDINGS, ENDINGS, Block, Sample, captions_of, count_ending
from embedshift.sources.lists import file_and_column, is_url
from embedshift.sources.order import WINDOW

# Of a column with images, in this order; as Hugging Face datasets and img2dataset name it.
IMAGE_COLUMNS = ("image", "jpg", "jpeg", "png", "webp", "img", "bytes", "image_bytes", "content")
ID_COLUMNS = ("image_id", "key", "path")
CAPTION_COLUMNS = ("caption", "text", "txt")
# Members of a block of a tar behind a URL: what stands near is near for the far end too, and for what caches between.
MEMBERS = 2_048


class TarSource:
    """The images in tar files; an `image_id` is the member's name, extension included.

    A text beside a picture with the same name up to the last dot (`.txt`, or the `caption` of a `.json`) is its
    caption, as in the WebDataset layout that img2dataset writes.

    Args:
        archives: Paths or fsspec URLs of uncompressed tar files.

    Raises:
        EmbedshiftError: when one is no tar, or is compressed.
    """

    def __init__(self, archives: Sequence[str]) -> None:
        self.skipped: Counter[str] = Counter()
        self.samples = [sample for archive in archives for sample in self._list(archive)]
        self._positions: dict[str, list[int]] = {}
        for sample in self.samples:
            if is_url(sample.archive) and not sample.archive.startswith("file://"):
                self._positions.setdefault(sample.archive, []).append(sample.position)
        self.description = {"kind": "tar", "paths": list(archives)}

    def read(self, sample: Sample) -> bytes:
        """The bytes of one member."""
        files, path = fsspec.url_to_fs(sample.archive)
        data: bytes = files.cat_file(path, start=sample.position, end=sample.position + sample.length)
        if len(data) != sample.length:
            raise EmbedshiftError(f"{sample.archive} ends early")
        return data

    def block(self, sample: Sample) -> Block | None:
        """So many members of an archive behind a URL, since neighbours there are read together; else none."""
        positions = self._positions.get(sample.archive)
        return (
            None if positions is None else (sample.archive, bisect.bisect_left(positions, sample.position) // MEMBERS)
        )

    def _list(self, archive: str) -> Iterator[Sample]:
        images: list[tuple[str, tarfile.TarInfo]] = []
        texts: dict[str, tuple[str, bytes]] = {}
        try:
            with fsspec.open(archive, "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
                for member in tar:
                    name = member.name.removeprefix("./")
                    stem, ending = os.path.splitext(name)
                    if not member.isfile() or any(part.startswith(".") for part in name.split("/")):
                        continue
                    if ending.lower() in ENDINGS:
                        images.append((name, member))
                    elif ending.lower() in CAPTION_ENDINGS:
                        content: IO[bytes] | None = tar.extractfile(member)
                        texts[name] = (stem, content.read() if content else b"")
                    else:
                        count_ending(self.skipped, name)
        except FileNotFoundError as error:
            raise UsageError(f"{archive}: no such file") from error
        except tarfile.TarError as error:
            words = f"{archive}: not a tar that can be read in place ({reason(error)}); unpack a compressed one first"
            raise UsageError(words) from error
        captions = captions_of(texts)
        stems = {os.path.splitext(name)[0] for name, _ in images}
        for name, (stem, _) in texts.items():
            if stem not in stems:
                count_ending(self.skipped, name)
        for name, member in images:
            caption = captions.get(os.path.splitext(name)[0])
            yield Sample(
                name, f"{archive}: {name}", caption, archive=archive, position=member.offset_data, length=member.size
            )


class ParquetSource:
    """The images in a column of Parquet files.

    The column holds the bytes of image files, or Hugging Face's struct with `bytes`. An `image_id` is the column
    `image_id`, else `key`, else `path`, else `<file>#<row>`; a caption is `caption`, else `text`, else `txt`.

    Args:
        files: Paths or fsspec URLs; `file.parquet#column` names the column.

    Raises:
        EmbedshiftError: when a file is no Parquet, or has no such column with images.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self.skipped: Counter[str] = Counter()
        self._starts: dict[str, list[int]] = {}
        self._columns: dict[str, str] = {}
        self._groups: collections.OrderedDict[Block, pa.ChunkedArray] = collections.OrderedDict()
        self.samples = [sample for file in files for sample in self._list(file)]
        self.description = {"kind": "parquet", "paths": list(files)}

    def read(self, sample: Sample) -> bytes:
        """The bytes of one row; the row groups that rows were read from last are kept."""
        block = self.block(sample)
        if block not in self._groups:
            with fsspec.open(file_and_column(sample.archive)[0], "rb") as file:
                table = pq.ParquetFile(file).read_row_group(block[1], columns=[self._columns[sample.archive]])
            self._groups[block] = table.column(0)
            if len(self._groups) > WINDOW:
                self._groups.popitem(last=False)
        self._groups.move_to_end(block)
        return image_bytes(self._groups[block][sample.position - self._starts[sample.archive][block[1]]].as_py())

    def block(self, sample: Sample) -> Block:
        """The row group of an image."""
        return sample.archive, bisect.bisect_right(self._starts[sample.archive], sample.position) - 1

    def __getstate__(self) -> Json:
        """Without the images that are kept, which do not travel."""
        return self.__dict__ | {"_groups": collections.OrderedDict()}

    def _list(self, path: str) -> Iterator[Sample]:
        place, column = file_and_column(path)
        try:
            with fsspec.open(place, "rb") as file:
                parquet = pq.ParquetFile(file)
                groups = [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)]
                self._starts[path] = [0, *itertools.accumulate(groups)][:-1] or [0]
                self._columns[path] = image_column(place, parquet.schema_arrow, column)
                named = parquet.read(
                    columns=[c for c in ID_COLUMNS + CAPTION_COLUMNS if c in parquet.schema_arrow.names]
                )
        except FileNotFoundError as error:
            raise UsageError(f"{place}: no such file") from error
        except pa.ArrowException as error:
            raise UsageError(f"{place}: not Parquet ({reason(error)})") from error
        yield from named_samples(path, os.path.basename(place), parquet.metadata.num_rows, named.to_pydict())


def named_samples(archive: str, name: str, rows: int, columns: dict[str, list[Any]]) -> Iterator[Sample]:
    """A sample per row, its id and caption from the columns that hold them."""
    ids = next((columns[c] for c in ID_COLUMNS if c in columns), None)
    captions = next((columns[c] for c in CAPTION_COLUMNS if c in columns), None)
    for row in range(rows):
        image_id = f"{name}#{row}" if ids is None or ids[row] is None else str(ids[row])
        caption = None if captions is None or captions[row] is None else str(captions[row])
        yield Sample(image_id, f"{archive}#{row}", caption, archive=archive, position=row)


def image_column(path: str, schema: pa.Schema, asked: str = "") -> str:
    """The column that holds the bytes of images.

    Args:
        path: Of the file, for the line of an error.
        schema: Its columns.
        asked: The column that was asked for; "" = the one that is called as such columns are, or the only one.

    Raises:
        UsageError: when there is none, or the one that was asked for is not there or holds no bytes.

    Example:
        >>> image_column("a.parquet", pa.schema([("key", pa.string()), ("jpg", pa.binary())]))
        'jpg'
    """
    holding = [field.name for field in schema if _holds_bytes(field.type)]
    if asked and asked not in holding:
        words = "holds no bytes" if asked in schema.names else "is not there"
        raise UsageError(f"{path}: the column {asked!r} {words}; those with bytes: {', '.join(holding) or 'none'}")
    if asked:
        return asked
    named = [name for name in IMAGE_COLUMNS if name in holding] or (holding if len(holding) == 1 else [])
    if not named:
        columns = ", ".join(schema.names)
        raise UsageError(f"{path}: no column with the bytes of images (it has {columns})")
    return named[0]


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def image_bytes(value: Any) -> bytes:
    """The bytes in a cell: themselves, or Hugging Face's `{"bytes": ..., "path": ...}`."""
    if isinstance(value, dict):
        if value.get("bytes") is None and value.get("path"):
            with open(value["path"], "rb") as file:
                return file.read()
        value = value.get("bytes")
    if value is None:
        raise EmbedshiftError("the row holds no image")
    return bytes(value)
