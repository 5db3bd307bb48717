"""The device of an encoder: how it is found, and how arrays get to it and back."""

import contextlib
import ctypes
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from embedshift.arrays import Floats, Pixels
from embedshift.config.processes import cores
from embedshift.encoders.base import Encoder, EncoderInfo
from embedshift.errors import UsageError, reason

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # as malloc.h has them


def find_device(name: str) -> torch.device:
    """Returns the device `name`, "auto" = the best available; EmbedshiftError (exit code 2) if it cannot be used."""
    try:
        device = torch.device(_best_device() if name == "auto" else name)
        torch.empty(1, device=device).cpu()  # "meta" computes nothing
    except Exception as error:
        words = f"device {name!r} cannot be used here ({reason(error).split('. ')[0][:200]}); use auto or cpu"
        raise UsageError(words) from error
    return device


def to_device(views: Pixels, device: torch.device) -> Tensor:
    """Copies views to the device as a tensor; for a GPU the copy runs in the background."""
    tensor = torch.from_numpy(views)
    # Only pinned memory is copied while the process continues.
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def from_device(tensors: Sequence[Tensor]) -> Callable[[], list[Floats]]:
    """Starts copying tensors back from one device; the returned function waits and returns them as arrays."""
    asynchronous = tensors[0].device.type == "cuda"
    on_host, copied = [tensor.to("cpu", non_blocking=asynchronous) for tensor in tensors], None
    if asynchronous:
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record()

    def wait() -> list[Floats]:
        if copied is not None:
            copied.synchronize()
        return [np.asarray(tensor.numpy()) for tensor in on_host]

    return wait


def takes_all_cores(encoder: Encoder) -> bool:
    """Whether an encoder computes on the CPU, with a thread on each core; False if it does not give its device."""
    device = EncoderInfo.of(encoder).device
    return str(device).partition(":")[0] == "cpu" and torch.get_num_threads() >= cores()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def keep_memory() -> None:
    """Tells glibc to keep freed memory for later use; with other C libraries it does nothing."""
    with contextlib.suppress(OSError, AttributeError):
        set_option = ctypes.CDLL("libc.so.6").mallopt
        set_option(M_MMAP_THRESHOLD, 2**30)
        set_option(M_TRIM_THRESHOLD, 2**31 - 1)
