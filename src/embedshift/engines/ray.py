"""The engine for a cluster, or for all GPUs of one machine, by Ray: an encoder is an actor, some shards one call of it.

A call yields each finished shard; its loaders end with it. One more encoder than exists is always requested, so that
Ray and its autoscaler place one on a node that joins. A failed shard goes to the next free encoder, preferably on
another node. Ray Data is not used: it holds references of all shards, and repeats a call in the failed process.
"""

import contextlib
import importlib.util
import itertools
import logging
import os
import socket
import sys
import sysconfig
import time
from collections import Counter, defaultdict, deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from embedshift.config import StudyConfig
from embedshift.engines.job import Progress, loader_count
from embedshift.errors import EmbedshiftError, MissingExtra, UsageError, reason
from embedshift.pipeline.plan import Plan
from embedshift.pipeline.ready import ReadyEncoder, ready
from embedshift.pipeline.shard import Result, no_progress
from embedshift.registry import CODE
from embedshift.sources import Shard

log = logging.getLogger(__name__)

# Seconds between two checks of the cluster, and the checks of a silent head after which it is gone.
LOOK, SILENT = 5.0, 3
ATTEMPTS = 3
# Seconds until a line names the awaited resources, and until a shard no longer waits for a node without them.
PATIENCE = 30.0
# Maximum encoders requested beyond the running ones, and ended in a row before one finishes a shard.
MOST_ASKED, MOST_LOST = 32, 10
# Queued calls per encoder: the next is ready when one is done. Images per call: loaders start anew with each.
AHEAD, IMAGES_AT_ONCE = 2, 2_048
NODE = "ray.io/node-id"  # Ray's own label of a node


@contextlib.contextmanager
def joined(config: StudyConfig | None = None) -> Iterator[Any]:
    """Context with Ray, on the cluster of `RAY_ADDRESS`, or started on this machine and stopped at the end."""
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("the engine 'ray'", "ray") from error
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    address, started = os.environ.get("RAY_ADDRESS") or "local", not ray.is_initialized()
    if started:
        settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
        if modules := _own_modules(config):
            settings["runtime_env"] = {"py_modules": modules}
        try:
            # Not left to Ray, which would look for the last cluster of this machine, even an ended one.
            with _without_stderr():
                ray.init(address, **settings)
        except Exception as error:  # also a plain one, if a node does not start in 30 s
            raise EmbedshiftError(
                f"no Ray answers at {address} ({reason(error)[:200]}); start a cluster there"
            ) from error
    try:
        yield ray
    except ray.exceptions.RayError as error:
        words = f"the Ray cluster failed: {_words(error)}; run the same command again to resume"
        raise EmbedshiftError(words) from error
    finally:
        if started:
            ray.shutdown()


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Discards the line on its log level that Ray's C++ library writes; errors are exceptions."""
    if sys.__stderr__ is None:  # the descriptor may belong to any file
        yield
        return
    with open(os.devnull, "wb") as nowhere, os.fdopen(os.dup(2), "wb") as stderr:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr.fileno(), 2)


def _words(error: Exception) -> str:
    """Returns the last line of an error with Ray's traceback; for other errors the line that names it."""
    is_rays = type(error).__module__.partition(".")[0] == "ray"
    return next((line for line in reversed(str(error).split("\n")) if is_rays and line.strip()), reason(error))


def _own_modules(config: StudyConfig | None) -> list[str]:
    """Returns the files and folders of the settings' `python:` modules, except installed ones."""
    names = {name.removeprefix(CODE).partition(":")[0].partition(".")[0] for name in _own_names(config)}
    specs = [spec for name in sorted(names) if (spec := importlib.util.find_spec(name)) is not None]
    places = [next(iter(spec.submodule_search_locations or ()), spec.origin) for spec in specs]
    installed = tuple(sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib"))
    return [place for place in places if place and not place.startswith(installed)]


def _own_names(config: StudyConfig | None) -> list[str]:
    values: Sequence[Any] = [] if config is None else [config.model, config.augmentations, *config.metrics]
    return [value for value in values if isinstance(value, str) and value.startswith(CODE)]


def run_ray(
    shards: Sequence[Shard], plan: Plan, _ready: ReadyEncoder, progress: Progress
) -> Generator[Result, None, None]:
    if not shards:
        return
    with joined(plan.config) as ray:
        pool = _Pool(ray, plan, shards)
        try:
            yield from pool.results(progress)
        finally:
            pool.end()


@dataclass(eq=False)
class _Encoder:
    actor: Any
    # Its node, once known.
    node: str = ""
    has_done: bool = False
    # Reference of its node → None, stream of a call → its pending shards, in the order of the actor.
    running: dict[Any, deque[Shard] | None] = field(default_factory=dict)

    @property
    def shards(self) -> list[Shard]:
        return [shard for call in self.running.values() for shard in call or ()]


class _Pool:
    """The encoders of a run, the waiting shards, and the known nodes."""

    def __init__(self, ray: Any, plan: Plan, shards: Sequence[Shard]) -> None:
        self.ray, self.config, self.waiting = ray, plan.config, deque(shards)
        self.gcs = ray.get_runtime_context().gcs_address
        nodes = _live(ray)
        gpus = plan.config.num_gpus
        self.gpus = float(any(node["Resources"].get("GPU") for node in nodes)) if gpus is None else gpus
        self.cores, self.first = _fit(nodes, self.gpus, loader_count(plan.config))
        self.actor = ray.remote(max_restarts=0, num_cpus=self.cores, num_gpus=self.gpus)(EncoderActor)
        # As bytes: parts of an object would lie in Ray's store, and a loader that releases one notifies the store on
        # its parent's connection, which mixes up messages and ends the store and its node.
        self.plan = ray.put(ray.cloudpickle.dumps(plan))
        self.encoders, self.images = list[_Encoder](), len(shards[0].samples)
        self.errors, self.attempts = dict[int, str](), Counter[int]()
        # Nodes on which a shard failed, nodes that read an image, and nodes that read none of a shard.
        self.tried: defaultdict[int, set[str]] = defaultdict(set)
        self.readers, self.failed = set[str](), set[str]()
        # Nodes that could have an encoder, and those without one in time.
        self.nodes, self.without = set[str](), set[str]()
        self.others: dict[str, str] = {}  # the label of nodes that may have a new encoder
        self.looked, self.silent, self.lost = -LOOK, 0, 0
        self.idle_since, self.said, self.counts = time.monotonic(), False, (0, 0)

    def results(self, progress: Progress) -> Iterator[Result]:
        while self.waiting or any(encoder.shards for encoder in self.encoders):
            self._look()
            self._ask()
            self._hand_out()
            encoders = {reference: encoder for encoder in self.encoders for reference in encoder.running}
            for reference in self._done(list(encoders)):
                if reference in encoders[reference].running:  # its encoder has not died by now
                    for result in self._take(encoders[reference], reference):
                        progress(result[1].images + len(result[1].failures))
                        yield result
        if self.errors:
            listed = ", ".join(f"{index} ({words})" for index, words in sorted(self.errors.items())[:3])
            raise EmbedshiftError(
                f"{len(self.errors)} shards failed {ATTEMPTS} times: {listed}; the others are done, run again to retry"
            )

    def _done(self, references: list[Any]) -> list[Any]:
        if not references:
            time.sleep(LOOK)
            return []
        self.ray.wait(references, timeout=LOOK)
        done: list[Any] = self.ray.wait(references, num_returns=len(references), timeout=0)[0]
        return done

    def end(self) -> None:
        for encoder in list(self.encoders):
            self._end(encoder)

    def _end(self, encoder: _Encoder) -> None:
        self.encoders.remove(encoder)
        with contextlib.suppress(Exception):  # the node, or all of Ray, may be gone
            self.ray.kill(encoder.actor)

    def _look(self) -> None:
        """Checks the cluster: its head, its nodes, and encoders that wait for nodes."""
        if time.monotonic() - self.looked < LOOK:
            return
        self.looked = time.monotonic()
        self.silent = 0 if _answers(self.gcs) else self.silent + 1
        if self.silent == SILENT:  # Ray would end this process silently
            raise EmbedshiftError("the head of the Ray cluster is gone; run the same command again to resume")
        if not self.silent:
            self.nodes = {node["NodeID"] for node in _live(self.ray) if _fits(node, self.cores, self.gpus)}
        running = [encoder for encoder in self.encoders if encoder.node]
        if (counts := (len(running), len({encoder.node for encoder in running}))) != self.counts:
            self.counts = counts
            log.info("Ray: %d encoders on %d nodes", *counts)
        if any(encoder.shards for encoder in running):
            self.idle_since, self.said = self.looked, False
        elif self.looked - self.idle_since > PATIENCE:
            self.without = self.nodes - {encoder.node for encoder in running} - self.failed
            if not running and not self.said:
                self.said, of_gpus = True, f" and {self.gpus:g} GPUs" if self.gpus else ""
                words = "waiting for a node of the Ray cluster with %d free cores%s: %s"
                log.warning(words, self.cores, of_gpus, "none is there, or other work has it")

    def _ask(self) -> None:
        """Requests encoders: first as many as the nodes hold, then as many again as exist."""
        places, others = self._places(), dict[str, str]()
        if unread := (self.failed - places) & self.nodes:
            others = {NODE: f"!in({','.join(sorted(unread))})"}
        for encoder in list(self.encoders):
            was_asked_for_other_places = not encoder.node and others != self.others
            if was_asked_for_other_places or (encoder.node in unread and not encoder.running):
                self._end(encoder)
        self.others = others
        placed = sum(bool(encoder.node) for encoder in self.encoders)
        asked = min(MOST_ASKED, placed) if placed else self.first
        shards = len(self.waiting) + sum(len(encoder.shards) for encoder in self.encoders)
        most = min(self.config.concurrency or shards, shards)
        for _ in range(min(most - len(self.encoders), asked - (len(self.encoders) - placed))):
            actor = self.actor.options(label_selector=others).remote([self.plan])
            self.encoders.append(_Encoder(actor, running={actor.node.remote(): None}))

    def _hand_out(self) -> None:
        places = self._places()
        encoders = [encoder for encoder in self.encoders if encoder.node in places]
        nodes = {encoder.node for encoder in encoders}
        # Near the end one by one, so that all finish together.
        for ahead in range(1, 1 + (AHEAD if len(self.waiting) > len(encoders) else 1)):
            for encoder in encoders:
                is_free = sum(map(bool, encoder.running.values())) < ahead
                if is_free and (shards := self._next(encoder, nodes, len(encoders))):
                    stream = encoder.actor.measure.options(num_returns="streaming").remote(shards)
                    encoder.running[stream] = deque(shards)

    def _next(self, encoder: _Encoder, nodes: set[str], encoders: int) -> list[Shard]:
        """Takes the shards of a call: one at first, and fewer near the end."""
        most = max(1, min(IMAGES_AT_ONCE // self.images, len(self.waiting) // (AHEAD * encoders)))
        most = most if encoder.has_done and self.config.until is None else 1
        tried = ((shard, self.tried.get(shard.index, set())) for shard in self.waiting)
        suitable = (shard for shard, on in tried if encoder.node not in on or nodes <= on)
        shards = list(itertools.islice(suitable, most))
        for shard in shards:
            self.waiting.remove(shard)
        return shards

    def _places(self) -> set[str]:
        """Returns the nodes that may measure a shard, preferring nodes that did not fail to read one."""
        nodes = self.nodes - self.without | {encoder.node for encoder in self.encoders if encoder.node}
        return nodes - (self.failed - self.readers) or nodes

    def _take(self, encoder: _Encoder, reference: Any) -> Iterator[Result]:
        shards = encoder.running[reference]
        try:
            outcome = self.ray.get(reference if shards is None else next(reference))
        except StopIteration:
            del encoder.running[reference]
            return
        except self.ray.exceptions.RayError as error:
            self._replace(encoder, type(error).__name__)
            return
        if isinstance(outcome, EmbedshiftError):
            raise outcome
        if shards is None:
            del encoder.running[reference]
            encoder.node = outcome
            return
        encoder.has_done, self.lost, shard = True, 0, shards.popleft()
        if isinstance(outcome, str):
            self._again(shard, encoder.node, outcome)
        elif self._is_read(outcome, encoder.node, shard):
            yield outcome

    def _is_read(self, result: Result, node: str, shard: Shard) -> bool:
        """Returns whether a shard is done; if no image of it could be read, another node tries it."""
        failures, is_first = result[1].failures, node not in self.failed
        if result[1].images or any(failure.stage != "read" for failure in failures):
            self.readers.add(node)
            return True
        self.failed.add(node)
        self.tried[shard.index].add(node)
        self.attempts[shard.index] += 1
        if self.attempts[shard.index] >= ATTEMPTS or self._places() <= self.tried[shard.index]:
            return True
        if is_first:
            words = "a node read no image of shard %d (first: %s: %s): trying other nodes"
            log.warning(words, shard.index, failures[0].image_id, failures[0].reason)
        self.waiting.appendleft(shard)
        return False

    def _again(self, shard: Shard, node: str, words: str) -> None:
        self.attempts[shard.index] += 1
        self.tried[shard.index].add(node)
        log.warning("shard %d failed (%s), attempt %d of %d", shard.index, words, self.attempts[shard.index], ATTEMPTS)
        if self.attempts[shard.index] >= ATTEMPTS:
            self.errors[shard.index] = words
        else:
            self.waiting.appendleft(shard)

    def _replace(self, encoder: _Encoder, kind: str) -> None:
        """Returns the shards of a dead encoder to the queue; the first may be the cause and counts as failed."""
        self._end(encoder)
        shards, encoder.running = encoder.shards, {}
        self.waiting.extendleft(reversed(shards[1:]))
        if shards:
            self._again(shards[0], encoder.node, f"its encoder ended: {kind}")
        self.lost += not encoder.has_done
        if self.lost == MOST_LOST:
            words = f"{MOST_LOST} encoders ended before their first shard was done ({kind})"
            raise EmbedshiftError(f"{words}: give them more memory, and run again to go on")


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), LOOK).close()
    except OSError:
        return False
    return True


def _live(ray: Any) -> list[Mapping[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _fits(node: Mapping[str, Any], cores: float, gpus: float) -> bool:
    has = node["Resources"]
    return bool(has.get("CPU", 0) >= cores and has.get("GPU", 0) >= gpus)


def _fit(nodes: Sequence[Mapping[str, Any]], gpus: float, workers: int) -> tuple[int, int]:
    """Returns the cores of an encoder, and the number of encoders that fit on the nodes."""
    with_cores = [node for node in nodes if _fits(node, 1, 0)]
    if not with_cores:  # a cluster that scales from zero
        return max(1, workers + bool(gpus)), 1
    has = [node["Resources"] for node in with_cores if _fits(node, 1, gpus)]
    if not has:
        cores, devices = (max(node["Resources"].get(kind, 0) for node in nodes) for kind in ("CPU", "GPU"))
        raise UsageError(
            f"`num_gpus` {gpus:g}: no node of the Ray cluster has a core and as many GPUs; its nodes have at most "
            f"{cores:g} cores and {devices:g} GPUs"
        )
    encoders = [max(1, int(node["GPU"] / gpus)) if gpus else 1 for node in has]
    cores = max(1, int(min(node["CPU"] / count for node, count in zip(has, encoders, strict=True))))
    if gpus:
        return min(cores, workers + 1), sum(encoders)
    return cores, sum(int(node["CPU"] / cores) for node in has)


class EncoderActor:
    """The actor: its encoder is loaded with the first shard and kept until its process ends."""

    def __init__(self, plan: Sequence[Any]) -> None:
        self._sent, self._life = plan, contextlib.ExitStack()
        self.plan: Plan | None = None

    def node(self) -> str:
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def measure(self, shards: Sequence[Shard]) -> Iterator[Result | str | EmbedshiftError]:
        """Yields the rows of each shard or the reason for none; or the reason for no encoder."""
        import ray

        from embedshift.engines.local import measure, read_blocks

        try:
            if self.plan is None:
                plan: Plan = ray.cloudpickle.loads(ray.get(self._sent[0]))
                self.ready = self._life.enter_context(ready(plan.spec, compiled=True))
                self.plan = plan
        except Exception as error:  # an outcome, instead of Ray's traceback
            address = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
            yield EmbedshiftError(f"on the node {address}: {_words(error)}")
            return
        waiting = deque(shards)
        while waiting:
            try:
                read_blocks(waiting[0], self.plan)
                for table, record in measure([*waiting], self.plan, self.ready, no_progress):
                    self.plan = self.plan.with_batch(record.batch_size)
                    waiting.popleft()
                    yield table, record
            except Exception as error:
                waiting.popleft()
                yield reason(error)
