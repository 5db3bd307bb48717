"""What a metric is, and the registry of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from embedshift.registry import Registry

Family = Literal["embedding", "attention", "aligned", "rollout", "pixels", "text"]
Function = Callable[..., Any]


@dataclass(frozen=True)
class Metric:
    """One number per augmented view, and how to read it.

    Args:
        name: Column of the records.
        label: What figures and reports call it, with its direction.
        family: What the function takes: "embedding" `(u [..., D], v [..., D])`, "attention"
            `(a [..., g_h, g_w], b [..., g_h, g_w], size)`, "rollout" the same of attention rolled out through all
            layers, "aligned" `(a [..., S, S], b [..., S, S])` as `scaled_map` gives them, the first moved as the view
            was, "pixels" `(o uint8 [..., S, S, 3], a uint8 [..., S, S, 3])`, "text"
            `(u [..., D], v [..., D], vectors of texts)`; leading dimensions broadcast.
        function: The function; float64 `[...]`.
        no_change: Its value for an unchanged view.
        low: The least value possible.
        high: The greatest value possible.
        higher_is_better: Whether a higher value means less change.
        optional: Left out of a study unless it is asked for.
        option: What asks for it.

    Example:
        >>> METRICS["cosine_similarity"].no_change
        1.0
    """

    name: str
    label: str
    family: Family
    function: Function
    no_change: float
    low: float
    high: float
    higher_is_better: bool
    optional: bool = False
    option: str = "--metrics"

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return (self.function.__doc__ or "").strip().splitlines()[0]

    @property
    def of_attention(self) -> bool:
        """Whether it needs the encoder's attention, and is null without."""
        return self.family in ("attention", "aligned", "rollout")


METRICS: Registry[Metric] = Registry("metric")


def metric(
    label: str,
    family: Family,
    *,
    no_change: float,
    low: float,
    high: float,
    higher_is_better: bool,
    optional: bool = False,
    option: str = "--metrics",
) -> Callable[[Function], Function]:
    """Registers the decorated function in `METRICS` under its own name."""

    def register(function: Function) -> Function:
        name = function.__name__
        METRICS.add(
            name, Metric(name, label, family, function, no_change, low, high, higher_is_better, optional, option)
        )
        return function

    return register
