"""The engine for a cluster, or all of one machine, by Ray Data: a shard is a block, an encoder an actor.

Only the places of images are sent: bytes are read, decoded and drawn beside the encoder, by the local engine's loader.
The rows of a shard return to the driver, which writes them; workers need no common disk.
"""

import contextlib
import logging
import pickle
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from embedshift.config import Json
from embedshift.engines.cluster import joined
from embedshift.engines.job import Job, no_progress
from embedshift.engines.roll import called, speak
from embedshift.errors import EmbedshiftError, reason
from embedshift.pipeline.ready import ready
from embedshift.pipeline.shard import Result
from embedshift.sources import Shard

log = logging.getLogger(__name__)

ATTEMPTS = 3


def run_ray(job: Job) -> Generator[Result, None, None]:
    """Measures the shards on the cluster of `RAY_ADDRESS`, or on a Ray started on this machine."""
    if not job.shards:
        return
    with joined() as ray, called(ray) as roll:
        yield from _attempts(job, ray, roll)


def _attempts(job: Job, ray: Any, roll: Any) -> Iterator[Result]:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    # This does not concern the tasks of a dead worker, which Ray repeats by itself.
    context.max_errored_blocks = 0
    remaining: Sequence[Shard] = job.shards
    errors: dict[int, str] = {}
    for attempt in range(1, ATTEMPTS + 1):
        errors.clear()
        for index, error, result in _one_attempt(replace(job, shards=remaining), ray, roll):
            if error:
                errors[index] = error
                log.warning("shard %d failed (%s), attempt %d of %d", index, error, attempt, ATTEMPTS)
                continue
            table, record = pickle.loads(result)
            job.progress(record.images + len(record.failures))
            yield table, record
        remaining = [shard for shard in remaining if shard.index in errors]
        if not remaining:
            return
    listed = ", ".join(f"{index} ({words})" for index, words in sorted(errors.items())[:3])
    raise EmbedshiftError(
        f"{len(errors)} shards failed {ATTEMPTS} times: {listed}; the others are done, run again to retry"
    )


def _one_attempt(job: Job, ray: Any, roll: Any) -> Iterator[tuple[int, str, bytes]]:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    config = job.config
    gpus = config.num_gpus if config.num_gpus is not None else float(any(node.get("GPU") for node in nodes))
    cores, fitting = _fit(nodes, gpus, job.workers)
    concurrency = min(config.concurrency or fitting, len(job.shards))
    # Objects of this process stay here.
    parcel = ray.put(replace(job, ready=None, progress=no_progress))
    blocks = ray.data.from_items([{"position": i} for i in range(len(job.shards))], override_num_blocks=len(job.shards))
    done = blocks.map_batches(
        _MeasureShards,
        fn_constructor_args=(parcel, roll),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=concurrency, max_tasks_in_flight_per_actor=2),
        num_cpus=cores,
        num_gpus=gpus or None,
    )
    # Without reading ahead, which would hold each result back until the next is there.
    for rows in done.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0):
        for index, error, result in zip(rows["index"], rows["error"], rows["result"], strict=True):
            yield int(index), str(error), result


def _fit(nodes: Sequence[Mapping[str, float]], gpus: float, workers: int) -> tuple[int, int]:
    """Returns the number of cores for each encoder, and the number of encoders that fit."""
    able = [node for node in nodes if node.get("CPU") and node.get("GPU", 0) >= gpus]
    encoders_per_node = [max(1, int(node["GPU"] / gpus)) if gpus else 1 for node in able]
    cores = max(
        1, int(min((node["CPU"] / count for node, count in zip(able, encoders_per_node, strict=True)), default=1))
    )
    if gpus:
        return min(cores, workers + 1), max(1, sum(encoders_per_node))
    return cores, max(1, sum(int(node["CPU"] / cores) for node in able))


class _MeasureShards:
    """The actor: one encoder that measures shard after shard."""

    def __init__(self, parcel: Any, roll: Any) -> None:
        import ray

        speak(ray, roll)
        job: Job = ray.get(parcel)
        # Ready for the whole life of the actor, which ends with its process.
        self._life = contextlib.ExitStack()
        self.job = replace(job, ready=self._life.enter_context(ready(job.spec, compiled=True)))

    def __call__(self, batch: Json) -> dict[str, list[Any]]:
        from embedshift.engines.local import read_blocks, run_local

        rows: dict[str, list[Any]] = {"index": [], "error": [], "result": []}
        for position in batch["position"]:
            shard, error, result = self.job.shards[int(position)], "", b""
            try:
                read_blocks(replace(self.job, shards=[shard]))
                table, record = next(run_local(replace(self.job, shards=[shard])))
                self.job = self.job.with_batch(record.batch_size)
                result = pickle.dumps((table, record))
            except Exception as problem:
                error = reason(problem)
            for name, value in (("index", shard.index), ("error", error), ("result", result)):
                rows[name].append(value)
        return rows
