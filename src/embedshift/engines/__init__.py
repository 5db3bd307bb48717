"""Engines: who does the work of the pending shards. One interface, equal results."""

import contextlib
from collections.abc import Callable
from typing import Any

from embedshift.engines.job import Engine, Job, Progress
from embedshift.pipeline.shard import Result

__all__ = ["Engine", "Job", "Progress", "Result", "find_engine", "find_map"]


def find_engine(name: str) -> Engine:
    """The engine of a name."""
    if name == "ray":
        from embedshift.engines.ray import run_ray

        return run_ray
    from embedshift.engines.devices import run_on_devices

    return run_on_devices


def find_map(name: str) -> contextlib.AbstractContextManager[Callable[..., Any]]:
    """What calls a function with each of a list of things, in order: all over the cluster for "ray", else here."""
    if name == "ray":
        from embedshift.engines.cluster import over_cluster

        return over_cluster()
    return contextlib.nullcontext(map)
