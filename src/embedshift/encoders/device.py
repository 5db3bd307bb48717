"""Where an encoder runs."""

import torch

from embedshift.errors import UsageError, reason


def find_device(name: str) -> torch.device:
    """The device called so, "auto" = the best that is here; EmbedshiftError (exit code 2) where it cannot be used."""
    try:
        device = torch.device(_best_device() if name == "auto" else name)
        torch.empty(1, device=device)
    except Exception as error:
        words = f"device {name!r} cannot be used here ({reason(error).split('. ')[0][:200]}): give auto or cpu"
        raise UsageError(words) from error
    return device


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
