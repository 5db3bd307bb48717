"""Views → encoder: batches that run across images, and are made smaller where memory does not hold them."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from embedshift.arrays import Pixels
from embedshift.encoders.base import Encoder, EncoderOutput, concatenate
from embedshift.errors import EmbedshiftError, reason
from embedshift.pipeline.draw import DrawnImage

log = logging.getLogger(__name__)

# What torch says on CUDA and MPS, and on a CPU.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory")


@dataclass
class Batch:
    """Views per forward pass; halved, for good, whenever the memory does not hold so many.

    Example:
        >>> Batch(40).size
        40
    """

    size: int

    def encode(self, encoder: Encoder, views: Sequence[Pixels]) -> EncoderOutput:
        """One forward pass, or several where memory ran out.

        Raises:
            EmbedshiftError: when the encoder fails, or the memory does not hold a single view.
        """
        outputs: list[EncoderOutput] = []
        start = 0
        while start < len(views):
            part = views[start : start + self.size]
            try:
                outputs.append(encoder(np.stack(part)))
                start += len(part)
            except Exception as error:
                if not _is_out_of_memory(error) or len(part) == 1:
                    raise EmbedshiftError(
                        f"the encoder {encoder.name} failed on a batch of {len(part)} views: {reason(error)}"
                    ) from error
                self.size = len(part) // 2
                log.warning("out of memory at %d views: batches of %d from here on", len(part), self.size)
        return concatenate(outputs)


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in OUT_OF_MEMORY)


def encode(drawn: Iterable[DrawnImage], encoder: Encoder, batch: Batch) -> Iterator[tuple[DrawnImage, EncoderOutput]]:
    """Encodes views in batches that run across images, and gives each image its own part back."""
    waiting: list[DrawnImage] = []
    views: list[Pixels] = []
    outputs: list[EncoderOutput] = []
    for image in drawn:
        waiting.append(image)
        views.extend(image.views)
        while len(views) >= batch.size:
            count = batch.size
            outputs.append(batch.encode(encoder, views[:count]))
            del views[:count]
        yield from _hand_out(waiting, outputs)
    if views:
        outputs.append(batch.encode(encoder, views))
    yield from _hand_out(waiting, outputs)


def _hand_out(waiting: list[DrawnImage], outputs: list[EncoderOutput]) -> Iterator[tuple[DrawnImage, EncoderOutput]]:
    """Gives out the images at the front whose views are all encoded, and keeps the rest in both lists."""
    if not outputs:
        return
    merged = concatenate(outputs)
    start = 0
    while waiting and start + len(waiting[0].views) <= len(merged):
        image = waiting.pop(0)
        yield image, merged[start : start + len(image.views)]
        start += len(image.views)
    outputs[:] = [merged[start:]] if start < len(merged) else []
