"""Engines: who does the work of the pending shards. One interface, equal results."""

from embedshift.engines.job import Engine, Job, Progress, Result

__all__ = ["Engine", "Job", "Progress", "Result", "find_engine"]


def find_engine(name: str) -> Engine:
    """The engine of a name."""
    if name == "ray":
        from embedshift.engines.ray import run_ray

        return run_ray
    from embedshift.engines.devices import run_on_devices

    return run_on_devices
