"""Where an encoder runs."""

import platform

import torch

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
