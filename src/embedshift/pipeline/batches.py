"""Batches of views for the encoder: they run across images, and shrink if memory is too small.

If a batch fails, its views are encoded one by one: views that fail alone are the cause, and their images are failures.
An encoder that also fails for a black view is broken, and ends the run.
"""

import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from embedshift.arrays import Pixels
from embedshift.encoders.base import Encoder, EncoderOutput, concatenate
from embedshift.errors import EmbedshiftError, reason
from embedshift.pipeline.draw import DrawnImage
from embedshift.pipeline.encoded import begin_views, encode_views
from embedshift.sources.base import storable
from embedshift.store.shards import Failure

log = logging.getLogger(__name__)

# Torch's messages on CUDA and MPS, and on a CPU.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory")


@dataclass
class Batch:
    """Number of views per forward pass; halved for good whenever memory is too small."""

    size: int

    def begin(self, encoder: Encoder, views: Sequence[Pixels]) -> "Pass":
        """Starts one forward pass."""
        begun: Callable[[], EncoderOutput] | None = None
        try:
            begun = begin_views(encoder, np.stack(views)) if len(views) <= self.size else None
        except Exception as error:
            return Pass(functools.partial(self.encode, encoder, views, functools.partial(_raise, error)), False)
        return Pass(functools.partial(self.encode, encoder, views, begun), begun is not None)

    def encode(
        self, encoder: Encoder, views: Sequence[Pixels], begun: Callable[[], EncoderOutput] | None = None
    ) -> "Encoded":
        """Runs one forward pass, or several if memory ran out or the encoder failed."""
        encoded = Encoded()
        while len(encoded) < len(views):
            part = views[len(encoded) : len(encoded) + self.size]
            first, begun = begun, None
            try:
                encoded.add(encode_views(encoder, np.stack(part)) if first is None else first())
            except Exception as error:
                if not _is_out_of_memory(error):
                    self._one_by_one(encoder, part, encoded, error)
                    continue
                tried = len(part) if first is None else len(views)
                if tried == 1:
                    raise _failed(encoder, 1, error) from error
                if tried // 2 < self.size:  # it may have been halved since the pass was begun
                    self.size = tried // 2
                    log.warning("out of memory with %d views; using batches of %d from now on", tried, self.size)
        return encoded

    def _one_by_one(self, encoder: Encoder, views: Sequence[Pixels], encoded: "Encoded", error: Exception) -> None:
        """Encodes the views of a failed batch one by one; a black view replaces those that fail alone."""
        log.warning("%s; its views are encoded one by one", _failed(encoder, len(views), error))
        try:
            black = encode_views(encoder, np.zeros_like(views[0])[None])
        except Exception:
            raise _failed(encoder, len(views), error) from error
        for view in views:
            try:
                encoded.add(encode_views(encoder, view[None].copy()))
            except Exception as problem:
                encoded.add(black, reason(problem))


@dataclass(frozen=True)
class Pass:
    """A forward pass."""

    finish: "Callable[[], Encoded]"
    is_begun: bool


@dataclass
class Encoded:
    """The encoder's outputs for some views, and for each view why it failed."""

    outputs: list[EncoderOutput] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.problems)

    def add(self, output: EncoderOutput, problem: str = "") -> None:
        """Adds views."""
        self.outputs.append(output)
        self.problems += [problem] * len(output)

    def extend(self, other: "Encoded") -> None:
        """Adds encoded views."""
        self.outputs += other.outputs
        self.problems += other.problems

    def take(self, images: list[DrawnImage]) -> Iterator[tuple[DrawnImage, EncoderOutput] | Failure]:
        """Yields the images at the front whose views are all encoded, and keeps the rest in both lists."""
        if not self.outputs:
            return
        merged, start = concatenate(self.outputs), 0
        while images and start + len(images[0].views) <= len(merged):
            image = images.pop(0)
            end = start + len(image.views)
            if problem := next(filter(None, self.problems[start:end]), ""):
                yield Failure(storable(image.sample.image_id), "encode", f"the encoder failed: {problem}")
            else:
                yield image, merged[start:end]
            start = end
        self.outputs, self.problems = [merged[start:]] if start < len(merged) else [], self.problems[start:]


def _raise(error: Exception) -> NoReturn:
    raise error


def _failed(encoder: Encoder, views: int, error: Exception) -> EmbedshiftError:
    return EmbedshiftError(f"the encoder {encoder.name} failed on a batch of {views} views: {reason(error)}")


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in OUT_OF_MEMORY)
