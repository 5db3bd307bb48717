"""The registry of metrics: numbers per view, and how to read them."""

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
        name: Column name in the rows.
        label: Name in figures and reports.
        needs: What the function compares: "embedding", "attention", "aligned" (attention moved as the view was moved),
            "rollout" (attention through all layers), "pixels", "text", or an input that another question names. The
            setting `metrics` accepts it as a short form for all optional metrics with this need.
        function: The function; batch first, returns float64 `[...]`.
        no_change: The value for an unchanged view.
        low: The least possible value.
        high: The greatest possible value.
        higher_is_better: Whether a higher value means less change.
        binary: Whether every value is 0 or 1, so that the mean is a proportion.
        unit: "" = without unit; "encoder" = the encoder's own unit, not comparable between encoders; otherwise the
            unit's name.
        optional: Whether a study measures it only on request.
        asked_by: The setting that requests it.
        baseline: A function that computes its baseline from the sums of the shards, such as
            `embedshift.statistics.baselines.cosine_baseline`; None = the baseline comes from sampled pairs.
        depends_on: The part of its question's identity that two studies must share for their values to be comparable.

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
    baseline: Callable[..., Any] | None = None
    depends_on: str = ""

    @property
    def question(self) -> str:
        """The name of the question that defines it in `measure.py`."""
        return self.function.__module__.split(".")[-2]

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (self.function.__doc__ or "").strip().splitlines()[0]


METRICS: Registry[Metric] = Registry("metric", lambda: import_parts("measure"))


def metric(
    label: str, needs: str, *, no_change: float, low: float, high: float, higher_is_better: bool, **more: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers the decorated function in `METRICS` under its own name.

    Args:
        label: As in `Metric`.
        needs: As in `Metric`.
        no_change: As in `Metric`.
        low: As in `Metric`.
        high: As in `Metric`.
        higher_is_better: As in `Metric`.
        **more: The optional fields of `Metric`.

    Returns:
        The decorator; it returns the function unchanged.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        name = function.__name__
        METRICS.add(name, Metric(name, label, needs, function, no_change, low, high, higher_is_better, **more))
        return function

    return register


def asked_metrics(names: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the metrics of a study: the standard ones in the order of their questions, then the requested ones.

    Args:
        names: Names of metrics, or values of `Metric.needs` that stand for all optional metrics with this need.

    Returns:
        Names of metrics, each once.

    Raises:
        UsageError: A name is unknown, or another setting switches this metric on.

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
