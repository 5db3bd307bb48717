"""The registry of metrics: numbers per view, and how to read them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from embedshift.errors import UsageError
from embedshift.registry.names import Registry
from embedshift.registry.questions import import_parts, questions

# What the name of an encoder or a metric begins with that is code of the user: a function of a module.
CODE = "python:"
# The question that measures metrics of users.
OWN = "own_metrics"


@dataclass(frozen=True)
class Metric:
    """One number per augmented view, and how to read it.

    Args:
        name: Column name in the rows.
        label: Name in figures and reports.
        needs: What the function compares: "embedding", "attention", "aligned" (attention moved as the view was moved),
            "rollout" (attention through all layers), "pixels", "aligned_pixels" (moved as the view was), "text", or an
            input that another question names. The setting `metrics` accepts it as a short form for all optional metrics
            with this need.
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
        owner: The question that measures it, where that is not the one that defines it.

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
    owner: str = ""

    @property
    def question(self) -> str:
        """The name of the question that measures it, by default the one that defines it in `measure.py`."""
        return self.owner or self.function.__module__.split(".")[-2]

    @property
    def summary(self) -> str:
        """The first line of the function's docstring; its label if it has none."""
        return ((self.function.__doc__ or "").strip() or self.label).splitlines()[0]


METRICS: Registry[Metric] = Registry("metric", lambda: import_parts("measure"))


def metric(
    label: str, needs: str, *, no_change: float, low: float, high: float, higher_is_better: bool, **options: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers the decorated function in `METRICS` under its own name.

    Args:
        label: As in `Metric`.
        needs: As in `Metric`.
        no_change: As in `Metric`.
        low: As in `Metric`.
        high: As in `Metric`.
        higher_is_better: As in `Metric`.
        **options: The optional fields of `Metric`.

    Returns:
        The decorator; it returns the function unchanged.

    Raises:
        UsageError: The function is not in the `measure.py` of a question.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        name, module = function.__name__, function.__module__
        if not re.fullmatch(r"(.+\.)?\w+\.measure", module):
            raise UsageError(
                f"the metric {name!r} is defined in {module}, where no question measures it. Compute it after the run "
                "from study.rows(), or define it in the measure.py of a question; a package adds one by the entry "
                "point embedshift.questions ('Add a question' in CONTRIBUTING.md)"
            )
        METRICS.add(name, Metric(name, label, needs, function, no_change, low, high, higher_is_better, **options))
        return function

    return register


def code_name(name: str) -> str:
    """Returns the name of a metric that may be given as `python:package.module:function`."""
    return re.split("[:.]", name)[-1] if name.startswith(CODE) else name


def asked_metrics(names: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the metrics of a study: the standard ones in the order of their questions, then the requested ones.

    Args:
        names: Names of metrics, values of `Metric.needs` that stand for all optional metrics with this need, or
            "python:package.module:function".

    Returns:
        Names of metrics, each once.

    Raises:
        UsageError: A name is unknown, or another setting switches this metric on.

    Example:
        >>> asked_metrics(("attention", "cosine_similarity"))[6:]
        ('attention_entropy_rise', 'attention_divergence')
    """
    metrics = [METRICS[name] for name in METRICS]
    positions = {question.name: position for position, question in enumerate(questions())}
    standard = [entry for entry in metrics if not entry.optional]
    standard.sort(key=lambda entry: positions[entry.question])
    groups: dict[str, list[str]] = {}
    for entry in metrics:
        if entry.optional and entry.asked_by == "metrics" and entry.owner != OWN:
            groups.setdefault(entry.needs, []).append(entry.name)
    names = tuple(map(code_name, names))
    for name in names:
        if name not in groups and METRICS[name].asked_by != "metrics":
            raise UsageError(f"metrics: {name} needs `{METRICS[name].asked_by}`")
    wanted = [metric for name in names for metric in groups.get(name) or [name]]
    return tuple(dict.fromkeys((*(entry.name for entry in standard), *wanted)))
