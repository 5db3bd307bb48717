"""The engine for a cluster, or all of one machine, by Ray Data: a shard is a block, an encoder an actor."""

import contextlib
import logging
import os
import pickle
import socket
import sys
import threading
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from typing import Any

from embedshift.config import Json
from embedshift.engines.job import Progress, loader_count
from embedshift.errors import EmbedshiftError, MissingExtra, UsageError, reason
from embedshift.pipeline.plan import Plan
from embedshift.pipeline.ready import ReadyEncoder, ready
from embedshift.pipeline.shard import Result, no_progress
from embedshift.sources import Shard
from embedshift.store.shards import ShardRecord

log = logging.getLogger(__name__)

# Seconds between two looks at the head.
PING = 5.0
ATTEMPTS = 3
# Seconds until a line says which resources are waited for.
PATIENCE = 30.0
NODE = "ray.io/node-id"  # Ray's own label of a node

Node = Mapping[str, Any]
# A shard, the node that tried it, and its rows and record, or why there are none, or why the run cannot go on.
Outcome = tuple[int, str, Result | str | EmbedshiftError]


@contextlib.contextmanager
def joined() -> Iterator[Any]:
    """Gives Ray, on the cluster of `RAY_ADDRESS`, or started on this machine and stopped at the end."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtra("the engine 'ray'", "ray") from error
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    address, started = os.environ.get("RAY_ADDRESS") or "local", not ray.is_initialized()
    if started:
        try:
            # Not left to Ray, which would look for the last cluster of this machine, even if it has gone.
            with _without_stderr():
                ray.init(address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
        except Exception as error:  # also a plain one, where a node does not start in 30 s
            raise EmbedshiftError(
                f"no Ray answers at {address} ({reason(error)[:200]}); start a cluster there"
            ) from error
    try:
        with _watched(ray.get_runtime_context().gcs_address):
            yield ray
    except ray.exceptions.RayError as error:
        last = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise EmbedshiftError(f"the Ray cluster failed: {last[0]}; run the same command again to resume") from error
    finally:
        if started:
            ray.shutdown()


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Discards the line about its own level of logging that Ray's library in C++ writes; errors are exceptions."""
    if sys.__stderr__ is None:  # the descriptor may be that of any file
        yield
        return
    with open(os.devnull, "wb") as nowhere, os.fdopen(os.dup(2), "wb") as stderr:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr.fileno(), 2)


@contextlib.contextmanager
def _watched(head: str) -> Iterator[None]:
    """Logs that the head of the cluster is gone, because Ray ends this process some time later without a message."""
    host, _, port = head.rpartition(":")
    ended = threading.Event()

    def watch() -> None:
        missed = 0
        while not ended.wait(PING) and missed < 3:
            try:
                socket.create_connection((host.strip("[]"), int(port)), PING).close()
                missed = 0
            except OSError:
                missed += 1
        if missed == 3:
            log.error("the head of the Ray cluster no longer answers; run the same command again to resume")

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def run_ray(
    shards: Sequence[Shard], plan: Plan, _ready: ReadyEncoder, progress: Progress
) -> Generator[Result, None, None]:
    if not shards:
        return
    with joined() as ray:
        yield from _attempts(ray, shards, plan, progress)


def _attempts(ray: Any, shards: Sequence[Shard], plan: Plan, progress: Progress) -> Iterator[Result]:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    # This does not concern the tasks of a dead worker, which Ray repeats by itself.
    context.max_errored_blocks = 0
    remaining = shards
    # Nodes that read an image, and those that read none of a shard; these fail fast, and so get many shards.
    readers, failed = set[str](), set[str]()
    for attempt in range(1, ATTEMPTS + 1):
        nodes, gpus = _fitting_nodes(ray, plan.config.num_gpus)
        without = failed - readers or failed
        if without.issuperset(node["NodeID"] for node in nodes):
            without = set()
        errors, unread = dict[int, str](), list[ShardRecord]()
        for index, node, result in _one_attempt(ray, remaining, plan, nodes, gpus, without):
            if isinstance(result, EmbedshiftError):
                raise result
            if isinstance(result, str):
                errors[index] = result
                log.warning("shard %d failed (%s), attempt %d of %d", index, result, attempt, ATTEMPTS)
                continue
            _, record = result
            is_read = bool(record.images) or any(failure.stage != "read" for failure in record.failures)
            (readers if is_read else failed).add(node)
            if is_read or attempt == ATTEMPTS or len(nodes) == 1:
                progress(record.images + len(record.failures))
                yield result
            else:
                unread.append(record)
        if unread:
            words, first = "%d shards without a readable image (first: %s: %s): trying other nodes", unread[0]
            log.warning(words, len(unread), first.failures[0].image_id, first.failures[0].reason)
        again = errors.keys() | {record.index for record in unread}
        remaining = [shard for shard in remaining if shard.index in again]
        if not remaining:
            return
    listed = ", ".join(f"{index} ({words})" for index, words in sorted(errors.items())[:3])
    raise EmbedshiftError(
        f"{len(errors)} shards failed {ATTEMPTS} times: {listed}; the others are done, run again to retry"
    )


def _fitting_nodes(ray: Any, num_gpus: float | None) -> tuple[list[Node], float]:
    nodes = [node for node in ray.nodes() if node["Alive"]]
    cores, devices = ([node["Resources"].get(kind, 0) for node in nodes] for kind in ("CPU", "GPU"))
    gpus = float(any(devices)) if num_gpus is None else num_gpus
    fitting = [node for node, *has in zip(nodes, cores, devices, strict=True) if has[0] >= 1 and has[1] >= gpus]
    if not fitting:
        raise UsageError(
            f"`num_gpus` {gpus:g}: no node of the Ray cluster has a core and as many GPUs; its nodes have at most "
            f"{max(cores, default=0):g} cores and {max(devices, default=0):g} GPUs"
        )
    return fitting, gpus


def _one_attempt(
    ray: Any, shards: Sequence[Shard], plan: Plan, nodes: Sequence[Node], gpus: float, without: Collection[str]
) -> Iterator[Outcome]:
    others = [node["Resources"] for node in nodes if node["NodeID"] not in without]
    cores, fitting = _fit(others, gpus, loader_count(plan.config))
    _say_if_waiting(ray, cores, gpus)
    parcel = ray.put((shards, plan))
    blocks = ray.data.from_items([{"position": i} for i in range(len(shards))], override_num_blocks=len(shards))
    concurrency = min(plan.config.concurrency or fitting, len(shards))
    done = blocks.map_batches(
        _MeasureShards,
        fn_constructor_args=(parcel,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=concurrency, max_tasks_in_flight_per_actor=2),
        num_cpus=cores,
        num_gpus=gpus or None,
        label_selector={NODE: f"!in({','.join(without)})"} if without else None,
    )
    # Without reading ahead, which would hold each result back until the next is there.
    for rows in done.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0):
        yield from map(pickle.loads, rows["outcome"])


def _fit(nodes: Sequence[Mapping[str, float]], gpus: float, workers: int) -> tuple[int, int]:
    encoders_per_node = [max(1, int(node["GPU"] / gpus)) if gpus else 1 for node in nodes]
    cores = max(1, int(min(node["CPU"] / count for node, count in zip(nodes, encoders_per_node, strict=True))))
    if gpus:
        return min(cores, workers + 1), sum(encoders_per_node)
    return cores, sum(int(node["CPU"] / cores) for node in nodes)


def _say_if_waiting(ray: Any, cores: int, gpus: float) -> None:
    """Logs what an encoder waits for, if other work holds it; Ray waits without a message."""
    place = ray.util.placement_group([{"CPU": cores} | ({"GPU": gpus} if gpus else {})])
    if not place.wait(PATIENCE):
        of_gpus = f" and {gpus:g} GPUs" if gpus else ""
        log.warning("waiting for a node of the Ray cluster with %d free cores%s: other work has them", cores, of_gpus)
    ray.util.remove_placement_group(place)


class _MeasureShards:
    def __init__(self, parcel: Any) -> None:
        import ray

        self.node: str = ray.get_runtime_context().get_node_id()
        self.problem: EmbedshiftError | None = None
        self.shards: Sequence[Shard]
        self.plan: Plan
        self.shards, self.plan = ray.get(parcel)
        # Ready for the whole life of the actor, which ends with its process.
        self._life = contextlib.ExitStack()
        try:
            self.ready = self._life.enter_context(ready(self.plan.spec, compiled=True))
        except Exception as error:  # an outcome, in place of Ray's traceback
            node = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
            self.problem = EmbedshiftError(f"on the node {node}: {reason(error)}")

    def __call__(self, batch: Json) -> dict[str, list[bytes]]:
        return {"outcome": [pickle.dumps(self._outcome(int(position))) for position in batch["position"]]}

    def _outcome(self, position: int) -> Outcome:
        from embedshift.engines.local import read_blocks, run_local

        if self.problem is not None:
            return position, self.node, self.problem
        shard = self.shards[position]
        try:
            read_blocks([shard], self.plan)
            table, record = next(run_local([shard], self.plan, self.ready, no_progress))
        except Exception as problem:
            return shard.index, self.node, reason(problem)
        self.plan = self.plan.with_batch(record.batch_size)
        return shard.index, self.node, (table, record)
