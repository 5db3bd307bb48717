"""The registry of metrics, numbers per view: those of the questions, and the user's own."""

import functools
import importlib
import inspect
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from embedshift.errors import UsageError, reason
from embedshift.registry.names import Registry
from embedshift.registry.questions import import_parts, questions

# Prefix of an encoder or a metric that is user code in a module.
CODE = "python:"
# The question that measures users' metrics.
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
    """Registers the decorated function in `METRICS` under its own name, and returns it; arguments as in `Metric`.

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
    """Returns the name of a metric given as `python:package.module:function`."""
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


# Name of the first parameter → input of the function, as in `Metric.needs`.
INPUTS = {"views": "pixels", "embeddings": "embedding"}
# Valid names: a metric is a column of the rows and must not replace another column.
NAME = re.compile(
    r"(?!(image_id|draw|family|level|parameter|caption)$|(view|pixels|embedding|attention|text))[a-z]\w{0,59}"
)


def imported(name: str) -> Any:
    """Imports an object by `python:package.module:object`, also from modules of the current folder."""
    module, _, path = name.removeprefix(CODE).partition(":")
    if not module or not path:
        raise UsageError(f"{name}: give {CODE}package.module:function")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        return functools.reduce(getattr, path.split("."), importlib.import_module(module))
    except (Exception, SystemExit) as error:
        raise UsageError(f"{name}: cannot be imported ({reason(error)[:300]})") from error


def metric_names(given: Any) -> Any:
    """Returns names of metrics, and registers functions among them; refuses other values."""
    if isinstance(given, Mapping):
        return [name if function is None else add_own(name, function) for name, function in given.items()]
    if isinstance(given, str) or not isinstance(given, Iterable):
        return given
    return [add_own(getattr(entry, "__name__", ""), entry) if callable(entry) else entry for entry in given]


def add_own(name: str, function: Any) -> str:
    """Adds a user's function, with its value for no change still unknown; returns the metric's name."""
    if not isinstance(name, str) or not NAME.fullmatch(name) or (name in METRICS and METRICS[name].question != OWN):
        raise UsageError(f"metrics: {name!r:.60} is taken or no name of a metric; choose small letters, digits and _")
    try:
        first = next(iter(inspect.signature(function).parameters), "")
    except (TypeError, ValueError):
        first = ""
    if first not in INPUTS:
        words = "give a function (views, original) or (embeddings, original)"
        raise UsageError(f"metric {name!r}: its first parameter is {first!r}; {words}")
    METRICS.put(name, _own(name, INPUTS[first], function, math.nan, False))
    return name


def import_own(names: Iterable[str]) -> None:
    """Imports and adds the metrics named `python:package.module:function`."""
    for name in names:
        if name.startswith(CODE):
            add_own(code_name(name), imported(name))


def add_stored(identity: Mapping[str, Any]) -> None:
    """Adds the users' metrics of a finished study, from its identity, to be read and not measured."""
    for name, stored in identity.items():
        if isinstance(stored, Mapping) and (name not in METRICS or METRICS[name].question == OWN):
            METRICS.put(name, _own(name, stored["of"], _not_here, stored["no_change"], stored["rises"], stored["unit"]))


def _own(name: str, of: str, function: Callable[..., Any], no_change: float, rises: bool, unit: str = "") -> Metric:
    label = name.replace("_", " ")
    options: dict[str, Any] = {"unit": unit, "optional": True, "depends_on": name, "owner": OWN}
    return Metric(name, label, of, function, no_change, -math.inf, math.inf, not rises, **options)


def _not_here(*_: Any) -> Any:
    raise UsageError("the function of this metric is not here: give it again")
