"""Writes shards in a separate thread while the next shard is measured."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from embedshift.store.shards import ShardRecord, write_shard


class ShardWriter:
    """Writes shards one after the other; its context ends when all are written."""

    def __init__(self, folder: Path, written: Callable[[ShardRecord], object]) -> None:
        self._folder, self._written = folder, written
        self._thread = ThreadPoolExecutor(1)
        self._last: tuple[Future[None], ShardRecord] | None = None

    def write(self, table: pa.Table, record: ShardRecord) -> None:
        """Starts to write a shard once the previous one is written."""
        self._wait()
        self._last = self._thread.submit(write_shard, self._folder, table, record), record

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._wait()  # a shard that was begun is written, whatever ended the run
        except Exception:
            if kind is None:
                raise
        finally:
            self._thread.shutdown()

    def _wait(self) -> None:
        if self._last is not None:
            (future, record), self._last = self._last, None
            future.result()
            self._written(record)
