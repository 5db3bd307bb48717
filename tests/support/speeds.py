"""A machine on which packed weights and lower precisions are as fast as a test says."""

from collections.abc import Callable
from typing import Any

import pytest

from embedshift.arrays import Pixels
from embedshift.encoders import kernels, precision
from embedshift.encoders.base import EncoderOutput
from embedshift.encoders.module import ModuleEncoder
from embedshift.encoders.precision import Cost


def set_speeds(
    monkeypatch: pytest.MonkeyPatch,
    *,
    packed: float = 2.0,
    lower: float = 0.5,
    error: float | None = 1e-5,
    seconds: float = 100.0,
) -> None:
    """Replaces the clock of the choices that are made when a study begins.

    Args:
        monkeypatch: The fixture.
        packed: How many times as fast a pass is with packed weights.
        lower: Seconds of a pass in a lower precision, as a multiple of those in float32.
        error: Cosine distance of its embeddings; None = not finite.
        seconds: Of a pass with torch's own kernels.
    """
    product, used = kernels._product, list[bool]()

    def noted(*args: Any) -> Any:
        used.append(True)
        return product(*args)

    def timed(work: Callable[[], Any]) -> tuple[float, Any]:
        used.clear()
        result = work()
        return (seconds / packed if used else seconds), result

    monkeypatch.setattr(kernels, "_product", noted)
    monkeypatch.setattr(kernels, "timed", timed)
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
