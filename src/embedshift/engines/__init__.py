"""Engines measure the pending shards, with one interface and equal results."""

from embedshift.config import VECTORS
from embedshift.engines.job import Engine, Progress, Start, State
from embedshift.pipeline.plan import Plan

__all__ = ["Engine", "Progress", "Start", "State", "find_engine"]


def find_engine(plan: Plan) -> Engine:
    if plan.config.augmentations == VECTORS:
        from embedshift.engines.vectors import run_vectors

        return run_vectors
    if plan.config.engine == "ray":
        from embedshift.engines.ray import run_ray

        return run_ray
    from embedshift.engines.local import run_local

    return run_local
