"""The device and the precision of an encoder: choice, cost and gain."""

import contextlib
import ctypes
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from embedshift.arrays import Floats, Pixels
from embedshift.config import Precision
from embedshift.config.processes import cores, one_thread_of
from embedshift.encoders.base import Encoder, EncoderInfo, EncoderOutput, usual_batch
from embedshift.encoders.images import patterns
from embedshift.errors import UsageError, reason
from embedshift.statistics.vectors import cosine

T = TypeVar("T")

log = logging.getLogger(__name__)

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # as in malloc.h


def find_device(name: str) -> torch.device:
    if "," in name:
        raise UsageError(f"device {name!r}: give one; `engine` ray uses all GPUs of a machine")
    try:
        best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        device = torch.device(best if name == "auto" else name)
        torch.empty(1, device=device).cpu()  # "meta" computes nothing
    except Exception as error:
        words = f"device {name!r} cannot be used here ({reason(error).split('. ')[0][:200]}); use auto or cpu"
        raise UsageError(words) from error
    return device


def to_device(views: Pixels, device: torch.device) -> Tensor:
    tensor = torch.from_numpy(views)
    # Only pinned memory is copied asynchronously.
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def from_device(tensors: Sequence[Tensor]) -> Callable[[], list[Floats]]:
    """Starts copying tensors back from one device; the returned function waits and returns float32 arrays."""
    asynchronous, copied = tensors[0].device.type == "cuda", None
    # Copied on a CPU too: a module may reuse the tensor in its next pass.
    on_host = [tensor.float().to("cpu", non_blocking=asynchronous, copy=True) for tensor in tensors]
    if asynchronous:
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record()

    def wait() -> list[Floats]:
        if copied is not None:
            copied.synchronize()
        return [np.asarray(tensor.numpy()) for tensor in on_host]

    return wait


def takes_all_cores(encoder: Encoder) -> bool:
    """Whether an encoder computes on the CPU with a thread on each core; False if its device is unknown."""
    device = EncoderInfo.of(encoder).device
    return str(device).partition(":")[0] == "cpu" and torch.get_num_threads() >= cores()


def one_torch_thread() -> AbstractContextManager[None]:
    return one_thread_of(torch.get_num_threads, torch.set_num_threads)


def keep_memory() -> None:
    """Tells glibc to keep freed memory; no effect with other C libraries."""
    with contextlib.suppress(OSError, AttributeError):
        set_option = ctypes.CDLL("libc.so.6").mallopt
        set_option(M_MMAP_THRESHOLD, 2**30)
        set_option(M_TRIM_THRESHOLD, 2**31 - 1)


# Minimum speed-up that counts, above noise.
FASTER = 1.03
# Maximum cosine distance to float32 embeddings of a lower precision that `precision` auto takes.
LARGEST_ERROR = 0.01
IMAGES = 4
# Number of timed passes per precision, and the seconds of one.
TURNS, PASS = 3, 0.1


class CastableEncoder(Encoder, Protocol):
    device: torch.device

    def at_precision(self, precision: Precision) -> AbstractContextManager[None]: ...


@dataclass(frozen=True, kw_only=True)
class Cost:
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
    lower: tuple[Precision, ...] = ("bfloat16", "float16") if encoder.device.type == "cuda" else ("bfloat16",)
    best: Precision = "float32"
    least, words = 1 / FASTER, []
    for precision in lower:
        try:
            cost = measure_cost(encoder, precision)
        except Exception as error:  # unsupported by this device
            words.append(f"{precision} cannot be computed here ({reason(error)[:100]})")
            continue
        words.append(f"{precision} {cost}")
        if cost.largest is not None and cost.largest <= LARGEST_ERROR and cost.time < least:
            best, least = precision, cost.time
    log.info("`precision` auto is %s for %s: %s", best, encoder.name, "; ".join(words))
    return best


def warn_if_slower(encoder: CastableEncoder, precision: Precision) -> None:
    if encoder.device.type == "cpu" and (times := measure_cost(encoder, precision).time) > FASTER:
        log.warning(
            "`precision` %s takes %.1f times as long as float32 on this processor: use `precision` float32 or auto",
            precision, times,
        )  # fmt: skip


def timed(work: Callable[[], T]) -> tuple[float, T]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def measure_cost(encoder: CastableEncoder, low: Precision) -> Cost:
    keep_memory()
    images = patterns(IMAGES, encoder.size)

    def encode(precision: Precision, count: int) -> tuple[float, EncoderOutput]:
        views = np.resize(images, (count, *images.shape[1:]))
        with encoder.at_precision(precision):
            return timed(lambda: encoder(views))

    precisions: tuple[Precision, ...] = ("float32", low)
    for precision in precisions:
        encode(precision, 1)
    slower = max(encode(precision, 1)[0] for precision in precisions)
    most = usual_batch(encoder.device.type, encoder.grid)
    count = max(1, min(most, int(PASS / max(slower, 1e-9))))
    seconds = [[encode(precision, count)[0] for precision in precisions] for _ in range(TURNS)]
    full, lower = np.maximum(np.min(seconds, axis=0), 1e-9)
    times = float(lower / full)
    if times >= 1:
        return Cost(time=times)
    distances = 1 - cosine(*(encode(precision, IMAGES)[1].embedding for precision in precisions))
    if not np.isfinite(distances).all():
        return Cost(time=times)
    return Cost(time=times, largest=float(distances.max()), mean=float(distances.mean()))
