"""Metrics of users: their functions are in the registry beside the metrics of the questions."""

import functools
import importlib
import inspect
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from embedshift.errors import UsageError, reason
from embedshift.registry.metrics import CODE, METRICS, OWN, Metric, code_name

# The name of the first parameter → what the function gets, as in `Metric.needs`.
INPUTS = {"views": "pixels", "embeddings": "embedding"}
# A name is a column of the rows, beside those of no metric.
NAME = re.compile(
    r"(?!(image_id|draw|family|level|parameter|caption)$|(view|pixels|embedding|attention|text))[a-z]\w{0,59}"
)


def imported(name: str) -> Any:
    """Imports an object by `python:package.module:object`; modules of the current folder are found, too."""
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
    """Returns the names of metrics that are names, functions, or a mapping of names to functions; registers functions.

    Anything else is returned as it is; the settings refuse it.
    """
    if isinstance(given, Mapping):
        return [name if function is None else add_own(name, function) for name, function in given.items()]
    if isinstance(given, str) or not isinstance(given, Iterable):
        return given
    return [add_own(getattr(entry, "__name__", ""), entry) if callable(entry) else entry for entry in given]


def add_own(name: str, function: Any) -> str:
    """Adds the function of a user, whose value for no change is not known yet; returns the metric's name."""
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
    for name in names:
        if name.startswith(CODE):
            add_own(code_name(name), imported(name))


def add_stored(identity: Mapping[str, Any]) -> None:
    """Adds the metrics of users that a finished study has, from its identity: their numbers are read, not measured."""
    for name, stored in identity.items():
        if isinstance(stored, Mapping) and (name not in METRICS or METRICS[name].question == OWN):
            METRICS.put(name, _own(name, stored["of"], _not_here, stored["no_change"], stored["rises"], stored["unit"]))


def _own(name: str, of: str, function: Callable[..., Any], no_change: float, rises: bool, unit: str = "") -> Metric:
    label = name.replace("_", " ")
    options: dict[str, Any] = {"unit": unit, "optional": True, "depends_on": name, "owner": OWN}
    return Metric(name, label, of, function, no_change, -math.inf, math.inf, not rises, **options)


def _not_here(*_: Any) -> Any:
    raise UsageError("the function of this metric is not here: give it again")
