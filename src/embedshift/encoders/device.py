"""Where an encoder runs, and how arrays get there and back."""

import platform
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from embedshift.arrays import Floats, Pixels
from embedshift.errors import UsageError, reason


def find_device(name: str) -> torch.device:
    """The device called so, "auto" = the best that is here; EmbedshiftError (exit code 2) where it cannot be used."""
    try:
        device = torch.device(_best_device() if name == "auto" else name)
        torch.empty(1, device=device).cpu()  # "meta" computes nothing
    except Exception as error:
        words = f"device {name!r} cannot be used here ({reason(error).split('. ')[0][:200]}): give auto or cpu"
        raise UsageError(words) from error
    return device


def to_device(views: Pixels, device: torch.device) -> Tensor:
    """The views as a tensor on the device; to a GPU they are copied while this process goes on."""
    tensor = torch.from_numpy(views)
    # Only memory that the system cannot move is copied beside the process.
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def from_device(tensors: Sequence[Tensor]) -> Callable[[], list[Floats]]:
    """Begins to copy tensors of one device back; what is returned waits for them and gives them as arrays.

    Example:
        >>> from_device([torch.ones(2)])()
        [array([1., 1.], dtype=float32)]
    """
    beside = tensors[0].device.type == "cuda"
    there, copied = [tensor.to("cpu", non_blocking=beside) for tensor in tensors], None
    if beside:
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record()

    def wait() -> list[Floats]:
        if copied is not None:
            copied.synchronize()
        return [np.asarray(tensor.numpy()) for tensor in there]

    return wait


def emulates_bfloat16(device: torch.device) -> bool:
    """Whether products in bfloat16 are slower than in float32: on a CPU that has no instructions for them.

    Example:
        >>> emulates_bfloat16(torch.device("cuda"))
        False
    """
    if device.type != "cpu":
        return False
    # Both words of torch's follow ONEDNN_MAX_CPU_ISA and ATEN_CPU_CAPABILITY; that of the processor alone does not.
    if not (hasattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported") and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return True
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    wide = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return not (wide and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()))


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
