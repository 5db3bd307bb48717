"""Forward passes with checked outputs, in smaller batches if memory is too small.

Where a batch fails, its views are encoded one by one.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from embedshift.arrays import Floats, Pixels
from embedshift.encoders.base import Encoder, EncoderOutput, Pipelined
from embedshift.encoders.images import noise
from embedshift.errors import EmbedshiftError, Transient, foreign_code, reason

log = logging.getLogger(__name__)

# Out-of-memory messages of torch on CUDA, MPS and CPU, and of onnxruntime.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "failed to allocate memory")

# A forward pass: a function that waits for its output, or the output or error itself.
Started = Callable[[], EncoderOutput] | EncoderOutput | Exception
# An output, and the error of its views without one.
Encoded = tuple[EncoderOutput, Exception | None]


@foreign_code()
def encode_views(encoder: Encoder, views: Pixels) -> EncoderOutput:
    return _checked(encoder(views), encoder, len(views))


@dataclass
class BatchEncoder:
    """An encoder and its number of views per forward pass, which is halved permanently if memory is too small."""

    encoder: Encoder
    size: int
    # Whether views have their own sizes and form a list.
    of_files: bool = False

    def start(self, views: Sequence[Pixels]) -> Started:
        """Starts a forward pass over views uint8 `[S, S, 3]`, or `[H, W, 3]` of files."""
        try:
            batch = self._batch(views)
            if not isinstance(self.encoder, Pipelined):
                return encode_views(self.encoder, batch)
            with foreign_code():
                output = self.encoder.begin(batch)
        except Exception as error:
            return error
        return foreign_code()(lambda: _checked(output(), self.encoder, len(views)))

    def _batch(self, views: Sequence[Pixels]) -> Any:
        return list(views) if self.of_files else np.stack(views)

    def finish(self, views: Sequence[Pixels], started: Started | None) -> Iterator[Encoded]:
        size = len(views)
        while views:
            part = views[:size]
            try:
                begun = self.start(part) if started is None else started
                if isinstance(begun, Exception):
                    raise begun
                output = begun() if callable(begun) else begun
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
        if views // 2 < self.size:  # a pass started earlier may have halved it already
            self.size = views // 2
            log.warning("out of memory with %d views; using batches of %d from now on", views, self.size)

    def _one_by_one(self, views: Sequence[Pixels], error: Exception) -> Iterator[Encoded]:
        log.warning("%s; its views are encoded one by one", self._failed(len(views), error))
        try:
            # As when loading: if this fails, the cause is not the views.
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


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(words in reason(error).lower() for words in OUT_OF_MEMORY)


def unusable(output: EncoderOutput) -> str | None:
    for name, array in output.arrays().items():
        if not np.isfinite(array).all():
            return f"the encoder's {name} contains values that are not finite"
    if not output.embedding.any(axis=1).all():
        return "the encoder's embedding is a zero vector, which has no direction"
    return None


def _checked(output: Any, encoder: Encoder, count: int) -> EncoderOutput:
    if not isinstance(output, EncoderOutput):
        raise EmbedshiftError(f"it returned {type(output).__name__}, not an EncoderOutput")
    arrays, observed = output.arrays(), output.observed
    if (output.attention is None) != (encoder.grid is None):
        returned = "no attention" if output.attention is None else "attention"
        raise EmbedshiftError(f"it returned {returned}, and its `grid` is {encoder.grid}")
    shapes = {"embedding": (encoder.dim,), "attention": tuple(encoder.grid or ())}
    floats = {name: _floats(name, array, count, shapes.get(name)) for name, array in arrays.items()}
    return EncoderOutput(
        floats["embedding"], floats.get("attention"), output.attention_kind, {name: floats[name] for name in observed}
    )


def _floats(name: str, array: Any, count: int, shape: tuple[int, ...] | None) -> Floats:
    """Returns a copy as float32 in C order, which fixes rounding of sums; refuses another shape or type."""
    numbers = np.asarray(array)
    expected = (count, *(numbers.shape[1:] if shape is None else shape))
    if numbers.shape != expected or numbers.dtype.kind not in "fiu":
        raise EmbedshiftError(f"its {name} is {numbers.dtype} {numbers.shape}; it must be float32 {expected}")
    with np.errstate(over="ignore"):  # an infinite value becomes a failure of its image
        return np.array(numbers, np.float32, order="C")  # an encoder may reuse its array
