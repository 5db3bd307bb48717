"""Where an encoder runs."""

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
