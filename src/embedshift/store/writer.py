"""Writes shards in a separate thread while the next shard is measured."""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from embedshift.store.info import ShardPixels
from embedshift.store.parts import refuse_other_pixels, shard_name
from embedshift.store.shards import ShardRecord, pixels_digest, shard_path, write_shard

log = logging.getLogger(__name__)


class ShardWriter:
    """Writes shards one after the other; its context ends when all are written.

    It refuses a shard that was measured before, if its images have other pixels now.
    """

    def __init__(
        self, folder: Path, written: Callable[[ShardRecord], object], study_id: str, first: Mapping[str, ShardPixels]
    ) -> None:
        self._folder, self._written, self._study_id, self._first = folder, written, study_id, first
        self._thread = ThreadPoolExecutor(1)
        self._last: tuple[Future[None], ShardRecord] | None = None

    def write(self, table: pa.Table, record: ShardRecord) -> None:
        self.wait()
        digest = pixels_digest(table["image_id"].to_pylist(), table["pixels"].to_pylist())
        record = replace(record, study_id=self._study_id, pixels=digest)
        path = shard_path(self._folder, record.index)
        first = self._first.get(shard_name(path))
        refuse_other_pixels(path, record, first)
        if first is not None and first.images != record.images:
            words = "%s: %d images measured, at first %d; whether they have the same pixels is not known"
            log.warning(words, path, record.images, first.images)
        self._last = self._thread.submit(write_shard, self._folder, table, record), record

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.wait()  # a shard that was begun is written, whatever ended the run
        except Exception:
            if kind is None:
                raise
        finally:
            self._thread.shutdown()

    def wait(self) -> None:
        if self._last is not None:
            (future, record), self._last = self._last, None
            future.result()
            self._written(record)
