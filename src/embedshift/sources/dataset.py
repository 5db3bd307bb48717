"""Datasets of Hugging Face's library `datasets`, as written by `save_to_disk`."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from embedshift.config import Json
from embedshift.config.safe_files import open_file
from embedshift.errors import EmbedshiftError, MissingExtra, UsageError, reason
from embedshift.sources.base import ImageRef, Source
from embedshift.sources.lists import is_url
from embedshift.sources.parquet import CAPTION_COLUMNS, ID_COLUMNS, image_bytes, image_column, named_samples


class DatasetSource(Source):
    """The images of saved datasets, split by split."""

    def __init__(self, folders: Sequence[str]) -> None:
        self.skipped: Counter[str] = Counter()
        self.description = {"kind": "dataset", "paths": list(folders)}
        self._splits = {split: data for folder in folders for split, data in _load(folder).items()}
        self._columns = {split: image_column(split, data.features.arrow_schema) for split, data in self._splits.items()}
        for split, data in self._splits.items():
            self._splits[split] = _undecoded(data, self._columns[split])
        self.samples = [sample for split in self._splits for sample in self._list(split)]

    def read(self, sample: ImageRef) -> bytes:
        column = self._columns[sample.archive]
        return image_bytes(self._splits[sample.archive][sample.position][column])

    def _list(self, split: str) -> Iterator[ImageRef]:
        data = self._splits[split]
        named = data.select_columns([c for c in ID_COLUMNS + CAPTION_COLUMNS if c in data.column_names])
        yield from named_samples(split, split, len(data), named.to_dict() if named.column_names else {})


def _load(folder: str) -> Json:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra(f"{folder}: reading it", "datasets") from error
    name = os.path.basename(folder.rstrip("/"))
    try:
        if not is_url(folder):
            _refuse_special_files(folder)
        loaded = datasets.load_from_disk(folder)
    except Exception as error:
        raise UsageError(f"{folder}: not a saved dataset ({reason(error)})") from error
    if isinstance(loaded, datasets.DatasetDict):
        return {f"{name}/{split}": data.with_format(None) for split, data in loaded.items()}
    return {name: loaded.with_format(None)}


def _refuse_special_files(folder: str) -> None:
    """Refuses a folder with a FIFO or a device, for which the library would wait."""
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                open_file(os.path.join(parent, name)).close()
            except EmbedshiftError as error:
                raise EmbedshiftError(f"{name}: {error}") from error


def _undecoded(data: Any, column: str) -> Any:
    """Returns the dataset with undecoded images: we decode them, so that views are equal."""
    import datasets

    if isinstance(data.features[column], datasets.Image):
        return data.cast_column(column, datasets.Image(decode=False))
    return data
