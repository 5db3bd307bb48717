"""Keeps encoder outputs for an unfinished shard on disk, so that a stopped run continues at the image.

A shard of many views takes minutes, and drawing an image takes a fraction of the time of encoding it. A hidden file
beside the shards therefore holds the encoder's outputs, batch by batch. The next run draws the same images, gets the
same batches and reads their outputs from the file: its rows and sums come from the same numbers as those of an
uninterrupted run. The hash of its pixels identifies a batch, so that outputs of other views are never used.
"""

import concurrent.futures
import contextlib
import hashlib
import json
import logging
import math
import os
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from embedshift.arrays import Floats, Pixels
from embedshift.config.files import open_file, open_own
from embedshift.encoders.base import Encoder, EncoderOutput
from embedshift.errors import EmbedshiftError
from embedshift.pipeline.encoded import begin_views
from embedshift.pipeline.plan import Plan
from embedshift.sources import Shard
from embedshift.store.shards import kept_path

log = logging.getLogger(__name__)

# Seconds between two writes; a shard that takes less never reaches the disk.
EVERY = 1.0
# Before each output: its bytes, its views, the hash of their pixels, and the hash of all of these and the output.
_HEAD = struct.Struct("<QQ32s32s")


class Kept:
    """The files of the shards in progress; its context writes missing outputs when it ends with an error."""

    def __init__(self, folder: Path | None, plan: Plan) -> None:
        self._folder, self._plan = folder, plan
        self._begun: dict[int, tuple[KeepingEncoder | None, float]] = {}
        self._pace = math.inf  # seconds an image of the last shard that was encoded as a whole

    def encoder(self, encoder: Encoder, shard: Shard) -> Encoder:
        """Returns the encoder, which keeps its outputs for one shard until `done`."""
        if self._folder is None:
            return encoder
        path, kept = kept_path(self._folder, shard.index), None
        if path.exists() or self._pace * len(shard.samples) >= EVERY:
            kept = KeepingEncoder(encoder, path, self._plan.config_hash)
        self._begun[shard.index] = kept, time.monotonic()
        return kept or encoder

    def done(self, shard: Shard) -> None:
        """Closes the file of a shard, which stays."""
        if shard.index not in self._begun:  # nothing is kept
            return
        kept, began = self._begun.pop(shard.index)
        if kept is None or not kept.found:
            self._pace = (time.monotonic() - began) / len(shard.samples)
        if kept is not None:
            kept.close()

    def __enter__(self) -> "Kept":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for kept, _began in self._begun.values():
            if kept is not None:
                if kind is not None:  # Ctrl-C too loses nothing
                    kept.write()
                kept.close()


def images_kept(folder: Path, shard: Shard, plan: Plan) -> int:
    """Returns how many images of an unfinished shard need not be encoded again."""
    try:
        with open_file(kept_path(folder, shard.index)) as file:
            return sum(each.views for each in _outputs(file, plan.config_hash)) // (1 + plan.views)
    except (OSError, EmbedshiftError):
        return 0


class KeepingEncoder:
    """An encoder that appends its outputs to a file, and first returns those that the file holds already."""

    def __init__(self, encoder: Encoder, path: Path, config_hash: str) -> None:
        self.name, self.dim, self.grid, self.size = encoder.name, encoder.dim, encoder.grid, encoder.size
        self.mean, self.std, self.weights_hash = encoder.mean, encoder.std, encoder.weights_hash
        self._encoder, self._path, self._config_hash = encoder, path, config_hash
        self._file: BinaryIO | None = _opened(path) if path.exists() else None
        self._found = _outputs(self._file, config_hash) if self._file else iter(())
        self._next, self._end = next(self._found, None), 0
        self.found = 0  # outputs that the file held
        # Hashing and writing beside the encoder, one output at a time.
        self._thread = concurrent.futures.ThreadPoolExecutor(max_workers=1)
        self._last: concurrent.futures.Future[None] | None = None
        self._begun: list[Callable[[], EncoderOutput]] = []
        self._unwritten, self._written = bytearray(), time.monotonic()

    def __call__(self, views: Pixels) -> EncoderOutput:
        """Returns the file's output for these views, else the encoder's."""
        return self.begin(views)()

    def begin(self, views: Pixels) -> Callable[[], EncoderOutput]:
        """Starts a pass if the file does not hold its output."""
        if self._next is not None and self._next.pixels == _hash(views.data):
            output, self._end = self._next.unpacked(), self._next.end
            self._next, self.found = next(self._found, None), self.found + 1
            return lambda: output
        finish = begin_views(self._encoder, views)
        self._next = None  # the rest of the file belongs to other batches

        def finished() -> EncoderOutput:
            self._begun.remove(finished)
            # In the memory order that the file restores, because sums depend on it by rounding.
            output = finish().contiguous()
            self._wait()
            self._last = self._thread.submit(self._keep, views, output)
            return output

        self._begun.append(finished)
        return finished

    def write(self) -> None:
        """Writes all outputs that are not written yet, and those of started passes."""
        for finished in [*self._begun]:
            with contextlib.suppress(Exception):
                finished()
        self._wait()
        self._append()

    def close(self) -> None:
        """Closes the file, which stays."""
        self._thread.shutdown()
        if self._file is not None:
            self._file.close()

    def _wait(self) -> None:
        if self._last is not None:
            self._last.result()

    def _keep(self, views: Pixels, output: EncoderOutput) -> None:
        self._unwritten += _packed(views, output, self._config_hash)
        if time.monotonic() - self._written >= EVERY:
            self._append()

    def _append(self) -> None:
        if self._unwritten and (file := self._file or _opened(self._path)):
            try:
                file.seek(self._end)
                file.truncate()  # the rest of the file, after the outputs that were used
                self._end += file.write(self._unwritten)
                file.flush()
            except OSError as error:  # a full disk ends the run only where it keeps a shard from being written
                log.info("%s: cannot be written (%s)", self._path, error.strerror)
            self._file = file
        self._unwritten.clear()
        self._written = time.monotonic()


@dataclass(frozen=True)
class _Output:
    """An output in a file: its number of views, the hash of their pixels, its bytes, and where it ends."""

    views: int
    pixels: bytes
    packed: bytes
    end: int

    def unpacked(self) -> EncoderOutput:
        head, _, numbers = self.packed.partition(b"\n")
        said, start, arrays = json.loads(head), 0, dict[str, Floats]()
        for name, kind, shape in said["arrays"]:
            count = int(np.prod(shape))
            arrays[name] = np.frombuffer(numbers, kind, count, start).reshape(shape)
            start += arrays[name].nbytes
        embedding, attention = arrays.pop("embedding"), arrays.pop("attention", None)
        return EncoderOutput(embedding, attention, said["attention_kind"], arrays)


def _opened(path: Path) -> BinaryIO | None:
    """Opens or creates the file; None if this fails, so that the run continues without it."""
    try:
        return open_own(path)
    except OSError as error:
        log.info("%s: cannot be opened (%s)", path, error.strerror)
        return None


def _outputs(file: BinaryIO, config_hash: str) -> Iterator[_Output]:
    """Yields the outputs in a file, up to the first that is cut, damaged, or of another study."""
    size = os.fstat(file.fileno()).st_size
    while len(head := file.read(_HEAD.size)) == _HEAD.size:
        length, views, pixels, whole = _HEAD.unpack(head)
        packed = file.read(length) if length <= size - file.tell() else b""
        if _hash(config_hash.encode(), head[: -len(whole)], packed) != whole:
            return
        yield _Output(views, pixels, packed, file.tell())


def _packed(views: Pixels, output: EncoderOutput, config_hash: str) -> bytes:
    """Returns an output in the form of the file: its head, a JSON line that describes its arrays, and their numbers."""
    arrays = output.arrays()
    said = [[name, array.dtype.str, array.shape] for name, array in arrays.items()]
    line = json.dumps({"attention_kind": output.attention_kind, "arrays": said}).encode()
    packed = b"".join([line, b"\n", *(array.tobytes() for array in arrays.values())])
    head = _HEAD.pack(len(packed), len(views), _hash(views.data), bytes(32))[:-32]
    return head + _hash(config_hash.encode(), head, packed) + packed


def _hash(*parts: bytes | memoryview) -> bytes:
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.digest()
