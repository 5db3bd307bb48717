"""Engines: who does the work of the pending shards. One interface, equal results."""

from embedshift.engines.job import Engine, Job, Progress, Result

__all__ = ["Engine", "Job", "Progress", "Result", "find_engine", "runs_here"]


def find_engine(name: str) -> Engine:
    """The engine of a name."""
    if name == "ray":
        from embedshift.engines.ray import run_ray

        return run_ray
    from embedshift.engines.devices import run_on_devices

    return run_on_devices


def runs_here(job: Job) -> bool:
    """Whether the encoder of this process does the work, rather than those of others."""
    if job.config.engine != "local":
        return False
    from embedshift.engines.devices import device_names

    return not job.device or len(device_names(job.device)) < 2
