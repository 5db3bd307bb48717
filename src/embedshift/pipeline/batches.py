"""Encodes batches of views: in smaller batches where memory is too small, one view at a time where a batch fails."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from embedshift.arrays import Pixels
from embedshift.encoders.base import Encoder, EncoderOutput
from embedshift.encoders.device import noise
from embedshift.errors import EmbedshiftError, Transient, reason
from embedshift.pipeline.encoded import begin_views, encode_views

log = logging.getLogger(__name__)

# Messages of torch on CUDA and MPS, and on a CPU, and of onnxruntime.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "failed to allocate memory")

# A started forward pass: a function that waits for its output, or the error because of which it did not start.
Started = Callable[[], EncoderOutput] | Exception
# An output, and the error because of which these views have none.
Encoded = tuple[EncoderOutput, Exception | None]


@dataclass
class BatchEncoder:
    """An encoder and its number of views per forward pass, which is halved for good whenever memory is too small."""

    encoder: Encoder
    size: int
    # Whether views have their own sizes: they are given as a list.
    of_files: bool = False

    def start(self, views: Sequence[Pixels]) -> Started:
        """Starts a forward pass over views uint8 `[S, S, 3]`, or `[H, W, 3]` of files."""
        try:
            return begin_views(self.encoder, self._batch(views))
        except Exception as error:
            return error

    def _batch(self, views: Sequence[Pixels]) -> Any:
        return list(views) if self.of_files else np.stack(views)

    def finish(self, views: Sequence[Pixels], started: Started | None) -> Iterator[Encoded]:
        size = len(views)
        while views:
            part = views[:size]
            try:
                output = _wait(self.start(part) if started is None else started)
            except Exception as error:
                if _is_out_of_memory(error):
                    self._halve(len(part), error)
                else:
                    yield from self._one_by_one(part, error)
                    views = views[size:]
            else:
                yield output, None
                views = views[size:]
            started, size = None, self.size

    def _halve(self, views: int, error: Exception) -> None:
        if views == 1:
            raise self._failed(1, error) from error
        if views // 2 < self.size:  # another pass, started before, may have halved it already
            self.size = views // 2
            log.warning("out of memory with %d views; using batches of %d from now on", views, self.size)

    def _one_by_one(self, views: Sequence[Pixels], error: Exception) -> Iterator[Encoded]:
        log.warning("%s; its views are encoded one by one", self._failed(len(views), error))
        try:
            # As when it was loaded: if this fails, it is not because of the views.
            output = encode_views(self.encoder, self._batch([*noise(1, self.encoder.size)]))
        except Exception:
            raise self._failed(len(views), error) from error
        for view in views:
            try:
                yield encode_views(self.encoder, self._batch([view])), None
            except Exception as view_error:
                yield output, view_error

    def _failed(self, views: int, error: Exception) -> EmbedshiftError:
        later = "; run the same command again to go on" if isinstance(error, Transient) else ""
        words = f"the encoder {self.encoder.name} failed on a batch of {views} views: {reason(error)}{later}"
        return EmbedshiftError(words)


def _wait(started: Started) -> EncoderOutput:
    if isinstance(started, Exception):
        raise started
    return started()


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(words in reason(error).lower() for words in OUT_OF_MEMORY)
