"""A machine with the instructions and the speed in lower precisions that a test says."""

from collections.abc import Callable

import pytest
import torch

from embedshift.arrays import Pixels
from embedshift.encoders import device as precision
from embedshift.encoders.base import EncoderOutput
from embedshift.encoders.device import Cost
from embedshift.encoders.module import ModuleEncoder


def set_speeds(
    monkeypatch: pytest.MonkeyPatch, *, lower: float = 0.5, error: float | None = 1e-5, avx512: bool = True
) -> None:
    """Replaces what a study looks at when it begins: AVX-512, which decides the kernels of float32, and the costs.

    `lower` is the time of a pass in a lower precision, as a multiple of that in float32; `error` the cosine distance of
    its embeddings, None = not finite.
    """
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512" if avx512 else "AVX2")
    cost = Cost(time=lower, largest=error, mean=error)
    monkeypatch.setattr(precision, "measure_cost", lambda *_: cost)


def count_passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Returns a list that gets the number of views of every forward pass."""
    counts, begin = list[int](), ModuleEncoder._begin

    def counted(encoder: ModuleEncoder, views: Pixels) -> Callable[[], EncoderOutput]:
        counts.append(len(views))
        return begin(encoder, views)

    monkeypatch.setattr(ModuleEncoder, "_begin", counted)
    return counts
