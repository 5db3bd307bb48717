"""Metrics: numbers of a view, and how to read them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from embedshift.errors import UsageError
from embedshift.registry.names import Registry
from embedshift.registry.questions import import_parts, questions


@dataclass(frozen=True)
class Metric:
    """One number per augmented view, and how to read it.

    Args:
        name: Column of the records.
        label: What figures and reports call it.
        needs: What the function compares: "embedding", "attention", "aligned" (attention moved as the view was),
            "rollout" (attention through all layers), "pixels", "text", or what another question names. The setting
            `metrics` takes it for all optional metrics that need it.
        function: The function, batch first; float64 `[...]`.
        no_change: Its value for an unchanged view.
        low: The least value possible.
        high: The greatest value possible.
        higher_is_better: Whether a higher value means less change.
        binary: Whether every value is 0 or 1, so that the mean is a share.
        unit: "" = a number without unit, "encoder" = the encoder's own, not comparable between encoders; else its name.
        optional: Left out of a study unless it is asked for.
        asked_by: The setting that asks for it.
        floor: Where its floor is made from what the shards of its question add up: the function that makes it, as
            `embedshift.statistics.floors.cosine_floor` does.
        depends_on: The part of its question's identity that must be equal in two studies for values to be comparable.

    Example:
        >>> METRICS["cosine_similarity"].no_change
        1.0
    """

    name: str
    label: str
    needs: str
    function: Callable[..., Any]
    no_change: float
    low: float
    high: float
    higher_is_better: bool
    binary: bool = False
    unit: str = ""
    optional: bool = False
    asked_by: str = "metrics"
    floor: Callable[..., Any] | None = None
    depends_on: str = ""

    @property
    def question(self) -> str:
        """The name of the question whose `measure.py` has it."""
        return self.function.__module__.split(".")[-2]

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return (self.function.__doc__ or "").strip().splitlines()[0]


METRICS: Registry[Metric] = Registry("metric", lambda: import_parts("measure"))


def metric(
    label: str, needs: str, *, no_change: float, low: float, high: float, higher_is_better: bool, **more: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers the decorated function in `METRICS` under its own name; the arguments are those of `Metric`."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        name = function.__name__
        METRICS.add(name, Metric(name, label, needs, function, no_change, low, high, higher_is_better, **more))
        return function

    return register


def asked_metrics(names: tuple[str, ...]) -> tuple[str, ...]:
    """The metrics of a study: those that are always measured, question by question, then those that `names` asks for.

    Args:
        names: Metrics, or what they need, which stands for all optional metrics that need it.

    Raises:
        UsageError: for an unknown name, and for a metric that another setting switches on.

    Example:
        >>> asked_metrics(("attention", "cosine_similarity"))[6:]
        ('attention_entropy_rise', 'attention_divergence')
    """
    known = [METRICS[name] for name in METRICS]
    order = {each.name: place for place, each in enumerate(questions())}
    always = sorted((each for each in known if not each.optional), key=lambda each: order[each.question])
    groups: dict[str, list[str]] = {}
    for each in known:
        if each.optional and each.asked_by == "metrics":
            groups.setdefault(each.needs, []).append(each.name)
    for name in names:
        if name not in groups and METRICS[name].asked_by != "metrics":
            raise UsageError(f"metrics: {name} needs `{METRICS[name].asked_by}`")
    wanted = [metric for name in names for metric in groups.get(name) or [name]]
    return tuple(dict.fromkeys((*(each.name for each in always), *wanted)))
