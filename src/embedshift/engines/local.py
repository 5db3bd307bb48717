"""The engine of one machine: loader processes draw, this process encodes and measures; or a process for each device."""

import contextlib
import logging
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

import torch

from embedshift.encoders.device import keep_memory, takes_all_cores
from embedshift.engines.job import Progress, loader_count
from embedshift.engines.loaders import GONE, Images, draw_all, limit_waits, receive
from embedshift.errors import EmbedshiftError, UsageError, reason
from embedshift.pipeline.draw import TookTooLong, draw_image, time_limit
from embedshift.pipeline.plan import Plan
from embedshift.pipeline.ready import ReadyEncoder, ready
from embedshift.pipeline.shard import Result, measure_shards
from embedshift.sources import Shard

log = logging.getLogger(__name__)

# Seconds between two signs of life of a child, and of silence after which it is ended; it is silent while it imports.
WORD, SILENCE = 5.0, 300.0
# A child leaves Ctrl-C to its parent, who ends it.
CHILD = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
from embedshift.config.processes import end_with_parent
end_with_parent(int(sys.argv[2]))
from embedshift.engines.local import serve
serve(int(sys.argv[1]))
"""


def run_local(
    shards: Sequence[Shard], plan: Plan, ready: ReadyEncoder, progress: Progress
) -> Generator[Result, None, None]:
    keep_memory()
    samples = [sample for shard in shards for sample in shard.samples]
    images = Images(samples, plan.source, plan.for_loaders(), draw_image)
    drawn = draw_all(images, loader_count(plan.config), in_turns=takes_all_cores(ready.encoder))
    with contextlib.closing(drawn):
        yield from measure_shards(shards, drawn, ready, plan, progress)


def read_blocks(shards: Sequence[Shard], plan: Plan) -> None:
    """Reads the blocks of archives before loaders are forked, which then share them."""
    if not loader_count(plan.config) or not plan.source.block(shards[0].samples[0]):
        return
    blocks = {plan.source.block(sample): sample for shard in shards for sample in shard.samples}
    for sample in blocks.values():
        # The loader reports the error.
        with contextlib.suppress(Exception, TookTooLong), time_limit(plan.config.image_timeout):
            plan.source.read(sample)


def device_names(device: str) -> list[str]:
    """Returns the devices of a setting: all GPUs for "auto" and "cuda", else the names between its commas."""
    if device in ("auto", "cuda") and torch.cuda.is_available():
        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    names = [name.strip() for name in device.split(",")]
    if len({name.partition(":")[0] for name in names}) > 1:
        raise UsageError(f"device {device!r}: give devices of one kind")
    return names


def run_on_devices(
    shards: Sequence[Shard], plan: Plan, ready: ReadyEncoder, progress: Progress
) -> Generator[Result, None, None]:
    """Runs the local engine on every device of the settings; in this process for one device or one shard."""
    names = device_names(plan.spec.devices)[: len(shards)] if plan.spec.devices else []
    parcel = _parcel(plan, len(names)) if len(names) > 1 else None
    if parcel is None:
        with plan.spec.compiled(ready.encoder) if shards else contextlib.nullcontext():
            yield from run_local(shards, plan, ready, progress)
        return
    log.info("%d processes: %s", len(names), ", ".join(names))
    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(_child(name)) for name in names]
        for child in children:
            child.send(parcel, child.device)
        # With `until` nearly in the study's order, whose first shards may be enough.
        most = len(shards) if plan.config.until is None else 2
        yield from _hand_out(shards, most, children, progress)


def _hand_out(shards: Sequence[Shard], most: int, children: Sequence["_Child"], progress: Progress) -> Iterator[Result]:
    remaining = list(shards)
    busy = {child.pipe: child for child in children}
    silent = dict.fromkeys(busy, 0.0)
    while busy:
        # At most one `WORD` at a time: if this process itself was stopped, as by Ctrl-Z, its children were too.
        started = time.monotonic()
        spoke = wait(list(busy), WORD)
        waited = min(time.monotonic() - started, WORD)
        for end, child in busy.items():
            silent[end] = 0.0 if end in spoke else silent[end] + waited
            if silent[end] > SILENCE:
                raise child.ended(f"did not answer for {SILENCE:g} s, perhaps because it was stopped,")
        for pipe in spoke:
            child = busy[pipe]  # type: ignore[index]
            message = child.receive()
            if message is None and remaining:
                # Several, because loaders read ahead only within them; fewer at the end, so that all finish together.
                count = min(most, max(1, len(remaining) // (2 * len(children))))
                child.send(remaining[:count])
                del remaining[:count]
            elif message is None:
                del busy[child.pipe]
            elif isinstance(message, Exception):
                raise message
            elif isinstance(message, int):
                progress(message)
            else:
                yield message


def _parcel(plan: Plan, devices: int) -> bytes | None:
    """Returns the message for every child; None if it cannot be sent, as with augmentations defined in a script."""
    workers = min(loader_count(plan.config), max(1, (os.cpu_count() or 1) // devices))
    try:
        parcel = pickle.dumps(replace(plan, config=replace(plan.config, workers=workers)))
        problem = "" if b"__main__" not in parcel else "the script itself defines them"
    except Exception as error:
        parcel, problem = b"", reason(error)
    if problem:
        log.warning(
            "using only one device: the augmentations cannot be sent to other processes (%s); move them to a module",
            problem,
        )
        return None
    return parcel


@dataclass(frozen=True)
class _Child:
    device: str
    process: subprocess.Popen[bytes]
    pipe: "Connection[Any, Any]"

    def send(self, *messages: object) -> None:
        with self._named():
            for message in messages:
                self.pipe.send(message)

    def receive(self) -> Any:
        with self._named():
            return receive(self.pipe)

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except GONE as error:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(WORD)
            raise self.ended("stopped unexpectedly") from error

    def ended(self, what: str) -> EmbedshiftError:
        """Ends the process if it has not ended; returns the error that says what it did."""
        code = self.process.poll()
        self.process.kill()  # SIGTERM would wait until a stopped process goes on
        self.process.wait()
        words = "and was ended" if code is None else f"(exit code {code}), perhaps out of memory"
        return EmbedshiftError(
            f"the process of device {self.device} {what} {words}. Run the same command again to resume"
        )


@contextlib.contextmanager
def _child(device: str) -> Iterator[_Child]:
    parent_end, child_end = Pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(child_end.fileno()), str(os.getpid())],
        pass_fds=[child_end.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    child_end.close()
    limit_waits(parent_end, SILENCE)
    try:
        yield _Child(device, process, parent_end)
    finally:
        parent_end.close()
        process.kill()  # also if it is stopped
        process.wait()


def serve(handle: int) -> None:
    """Runs a child: loads the encoder, then measures the shards that it gets until the pipe ends."""
    pipe = _SharedPipe(Connection(handle))
    threading.Thread(target=_say_that_it_works, args=(pipe,), daemon=True).start()
    with contextlib.suppress(*GONE):
        try:
            plan: Plan = pickle.loads(pipe.recv())
            with ready(plan.spec, pipe.recv(), compiled=True) as loaded:
                while True:
                    pipe.send(None)
                    shards: Sequence[Shard] = pipe.recv()
                    read_blocks(shards, plan)
                    for table, record in run_local(shards, plan, loaded, pipe.send):
                        plan = plan.with_batch(record.batch_size)
                        pipe.send((table, record))
        except GONE:
            raise
        except Exception as error:
            pipe.send(error if isinstance(error, EmbedshiftError) else EmbedshiftError(reason(error)))


class _SharedPipe:
    def __init__(self, pipe: "Connection[Any, Any]") -> None:
        self.recv, self._pipe, self._lock = pipe.recv, pipe, threading.Lock()

    def send(self, message: object) -> None:
        with self._lock:
            self._pipe.send(message)


def _say_that_it_works(pipe: _SharedPipe) -> None:
    with contextlib.suppress(*GONE):
        while True:
            pipe.send(0)  # so many more images
            time.sleep(WORD)
