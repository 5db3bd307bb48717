"""What a lower precision costs and saves on this machine; `precision` auto is chosen by it."""

import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from embedshift.arrays import Pixels
from embedshift.config import Precision
from embedshift.encoders.base import EncoderOutput, usual_batch
from embedshift.encoders.device import keep_memory
from embedshift.encoders.timing import FASTER, patterns, timed, views_in
from embedshift.errors import reason
from embedshift.statistics.vectors import cosine

log = logging.getLogger(__name__)

# The largest cosine distance of embeddings to those in float32 with which `precision` auto takes a lower one.
LARGEST_ERROR = 0.01
IMAGES = 4
# Number of timed passes in each precision, and the seconds of one.
TURNS, PASS = 3, 0.1


class CastableEncoder(Protocol):
    """An encoder whose passes can use another precision for a while."""

    name: str
    device: torch.device
    size: int

    @property
    def grid(self) -> tuple[int, int] | None: ...

    def at_precision(self, precision: Precision) -> AbstractContextManager[None]: ...

    def __call__(self, views: Pixels) -> EncoderOutput: ...


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a lower precision costs and saves."""

    time: float
    largest: float | None = None
    mean: float | None = None

    def __str__(self) -> str:
        if self.largest is None:
            return f"takes {self.time:.1f} times as long as float32" if self.time >= 1 else "gives no finite numbers"
        return (
            f"is {1 / self.time:.1f} times as fast as float32; cosine distance of its embeddings from "
            f"those in float32: at most {self.largest:.1g}, on average {self.mean:.1g} ({IMAGES} images)"
        )


def fastest_precision(encoder: CastableEncoder) -> Precision:
    """Returns the fastest precision whose embeddings are close to float32, and logs one line about the measurement."""
    lower: tuple[Precision, ...] = ("bfloat16", "float16") if encoder.device.type == "cuda" else ("bfloat16",)
    best: Precision = "float32"
    least, words = 1 / FASTER, []
    for precision in lower:
        try:
            cost = measure_cost(encoder, precision)
        except Exception as error:  # a device that cannot do it
            words.append(f"{precision} cannot be computed here ({reason(error)[:100]})")
            continue
        words.append(f"{precision} {cost}")
        if cost.largest is not None and cost.largest <= LARGEST_ERROR and cost.time < least:
            best, least = precision, cost.time
    log.info("`precision` auto is %s for %s: %s", best, encoder.name, "; ".join(words))
    return best


def warn_if_slower(encoder: CastableEncoder, precision: Precision) -> None:
    if encoder.device.type == "cpu" and (time := measure_cost(encoder, precision).time) > FASTER:
        log.warning(
            "`precision` %s takes %.1f times as long as float32 on this processor: use `precision` float32 or auto",
            precision, time,
        )  # fmt: skip


def measure_cost(encoder: CastableEncoder, low: Precision) -> Cost:
    """Times passes in float32 and in a lower precision, in turns, and compares their embeddings."""
    keep_memory()
    images = patterns(IMAGES, encoder.size)

    def encode(precision: Precision, count: int) -> tuple[float, EncoderOutput]:
        with encoder.at_precision(precision):
            views = np.resize(images, (count, *images.shape[1:]))
            return timed(lambda: encoder(views))

    precisions: tuple[Precision, ...] = ("float32", low)
    for precision in precisions:
        encode(precision, 1)
    slower = max(encode(precision, 1)[0] for precision in precisions)
    count = views_in(PASS, slower, usual_batch(encoder.device.type, encoder.grid))
    seconds = [[encode(precision, count)[0] for precision in precisions] for _ in range(TURNS)]
    full, lower = np.maximum(np.min(seconds, axis=0), 1e-9)
    time = float(lower / full)
    if time >= 1:
        return Cost(time=time)
    distances = 1 - cosine(*(encode(precision, IMAGES)[1].embedding for precision in precisions))
    if not np.isfinite(distances).all():
        return Cost(time=time)
    return Cost(time=time, largest=float(distances.max()), mean=float(distances.mean()))
