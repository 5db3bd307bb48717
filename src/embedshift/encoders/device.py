"""Where an encoder runs, and what it finds there."""

import contextlib
import ctypes

import torch

from embedshift.errors import UsageError, reason

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # as malloc.h has them


def find_device(name: str) -> torch.device:
    """The device called so, "auto" = the best that is here; EmbedshiftError (exit code 2) where it cannot be used."""
    try:
        device = torch.device(_best_device() if name == "auto" else name)
        torch.empty(1, device=device).cpu()  # "meta" computes nothing
    except Exception as error:
        words = f"device {name!r} cannot be used here ({reason(error).split('. ')[0][:200]}): give auto or cpu"
        raise UsageError(words) from error
    return device


def device_name(device: torch.device) -> str:
    """What a device is, wherever it is plugged in: its kind, of a GPU its model too.

    Example:
        >>> device_name(torch.device("cpu"))
        'cpu'
    """
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def keep_memory() -> None:
    """Tells glibc to keep freed memory for what comes next; other libraries of C are left as they are.

    An encoder on a CPU asks for the same tens of megabytes layer after layer. Given back to the kernel in between, they
    come as new pages every time, which cost CLIP ViT-B/32 in float32 15 % of its time.
    """
    with contextlib.suppress(OSError, AttributeError):
        set_option = ctypes.CDLL("libc.so.6").mallopt
        set_option(M_MMAP_THRESHOLD, 2**30)
        set_option(M_TRIM_THRESHOLD, 2**31 - 1)
