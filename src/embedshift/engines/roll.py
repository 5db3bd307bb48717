"""Ends workers of a Ray cluster that are silent, for example because they are stopped; Ray then starts others.

Ray itself notices workers that have ended, and nodes that are silent, but waits for a stopped worker without end.
"""

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

# Seconds between two words of a worker, and those of silence after which it is ended.
WORD, SILENCE = 5.0, 300.0

Worker = tuple[str, int]


class Roll:
    """An actor that hears from the workers; a worker is a node and a process."""

    def __init__(self) -> None:
        self._heard: dict[Worker, float] = {}

    def hear(self, worker: Worker) -> None:
        self._heard[worker] = time.monotonic()

    def silent(self, seconds: float) -> list[Worker]:
        """Returns workers that were silent for so long, each once."""
        found = [worker for worker, at in self._heard.items() if time.monotonic() - at > seconds]
        for worker in found:
            del self._heard[worker]
        return found


def speak(ray: Any, roll: Any) -> None:
    """Makes this process, a worker, say every few seconds that it works."""
    worker = ray.get_runtime_context().get_node_id(), os.getpid()

    def say() -> None:
        with contextlib.suppress(Exception):  # the roll has gone
            while True:
                ray.get(roll.hear.remote(worker))
                time.sleep(WORD)

    threading.Thread(target=say, daemon=True).start()


@contextlib.contextmanager
def called(ray: Any) -> Iterator[Any]:
    """Gives a roll; while entered, workers on it that are silent are ended."""
    roll = ray.remote(num_cpus=0)(Roll).remote()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(WORD):
            with contextlib.suppress(ray.exceptions.RayError):
                for node, process in ray.get(roll.silent.remote(SILENCE), timeout=SILENCE):
                    place = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
                    end = ray.remote(num_cpus=0, scheduling_strategy=place)(_end)
                    if ray.get(end.remote(process), timeout=SILENCE):
                        log.warning("a worker of the cluster did not answer for %g s and was ended", SILENCE)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield roll
    finally:
        ended.set()
        thread.join(WORD)
        ray.kill(roll)


def _end(process: int) -> bool:
    """Ends, on its node, a worker that has not ended by itself."""
    with contextlib.suppress(OSError):
        # Another process may have its number by now.
        if b"ray::" in Path(f"/proc/{process}/cmdline").read_bytes():
            os.kill(process, signal.SIGKILL)
            return True
    return False
