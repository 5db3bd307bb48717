"""Engines: they measure the pending shards. All have one interface and give equal results."""

import contextlib
from collections.abc import Callable
from typing import Any

from embedshift.config import VECTORS
from embedshift.engines.job import Engine, Progress, Start, State
from embedshift.pipeline.plan import Plan

__all__ = ["Engine", "Progress", "Start", "State", "find_engine", "find_map"]


def find_engine(plan: Plan) -> Engine:
    if plan.config.augmentations == VECTORS:
        from embedshift.engines.local import run_vectors

        return run_vectors
    if plan.config.engine == "ray":
        from embedshift.engines.ray import run_ray

        return run_ray
    from embedshift.engines.devices import run_on_devices

    return run_on_devices


def find_map(name: str) -> contextlib.AbstractContextManager[Callable[..., Any]]:
    """Returns the function that maps over a list in order: on the whole cluster for "ray", else in this process."""
    if name == "ray":
        from embedshift.engines.cluster import cluster_map

        return cluster_map()
    return contextlib.nullcontext(map)
