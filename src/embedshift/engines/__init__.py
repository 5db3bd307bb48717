"""Engines: they measure the pending shards. All have one interface and give equal results."""

import contextlib
from collections.abc import Callable
from typing import Any

from embedshift.config import VECTORS
from embedshift.engines.job import Engine, Job, Progress, Start
from embedshift.pipeline.shard import Result

__all__ = ["Engine", "Job", "Progress", "Result", "Start", "find_engine", "find_map"]


def find_engine(name: str) -> Engine:
    if name == "ray":
        from embedshift.engines.ray import run_ray

        return run_ray
    if name == VECTORS:
        from embedshift.engines.vectors import run_vectors

        return run_vectors
    from embedshift.engines.devices import run_on_devices

    return run_on_devices


def find_map(name: str) -> contextlib.AbstractContextManager[Callable[..., Any]]:
    """Returns the function that maps over a list in order: on the whole cluster for "ray", else in this process."""
    if name == "ray":
        from embedshift.engines.cluster import cluster_map

        return cluster_map()
    return contextlib.nullcontext(map)
