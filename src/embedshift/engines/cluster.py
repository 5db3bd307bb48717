"""Joins and leaves a Ray cluster, and maps a function over it."""

import collections
import contextlib
import itertools
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from embedshift.errors import EmbedshiftError, MissingExtra, reason

log = logging.getLogger(__name__)

# Seconds between two looks at the head, and those that a worker has for a part of the tables.
PING, PATIENCE = 5.0, 300.0
# Calls that are sent ahead beyond one per core; results wait for their turn.
AHEAD = 2

A = TypeVar("A")
T = TypeVar("T")


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


@contextlib.contextmanager
def cluster_map() -> Iterator[Callable[..., Any]]:
    """Gives a `map` over the cores of a cluster, which is joined for more than one item."""
    with contextlib.ExitStack() as stack:
        ray: Any = None
        is_logged = False

        def over(function: Callable[[A], T], items: Sequence[A]) -> Iterator[T]:
            nonlocal ray
            if len(items) < 2:
                return map(function, items)
            ray = ray or stack.enter_context(joined())
            return (
                function(item) if failed(problem) else result
                for item, result, problem in _results(ray, function, items)
            )

        def failed(problem: str) -> bool:
            nonlocal is_logged
            if problem and not is_logged:
                is_logged = True
                log.warning("a worker of the cluster cannot make tables (%s); this process makes them", problem)
            return bool(problem)

        yield over


def _results(ray: Any, function: Callable[[A], T], items: Sequence[A]) -> Iterator[tuple[A, T, str]]:
    """Yields each item in order with its result, or with the reason why there is none; a window of items at a time."""
    call, sent = ray.remote(num_cpus=1)(_try), ray.put(function)
    window = max(1, int(ray.cluster_resources().get("CPU", 1))) + AHEAD
    left, waiting = iter(items), collections.deque[tuple[A, Any]]()
    while True:
        waiting.extend((item, call.remote(sent, item)) for item in itertools.islice(left, window - len(waiting)))
        if not waiting:
            return
        item, reference = waiting.popleft()
        try:
            result, problem = ray.get(reference, timeout=PATIENCE)
        except ray.exceptions.RayError as error:  # its process or node died, again and again, or no core is free
            ray.cancel(reference, force=True)
            result, problem = None, reason(error)
        yield item, result, problem


def _try(function: Callable[[A], T], item: A) -> tuple[T | None, str]:
    """Returns, on a worker, the result or the reason why there is none."""
    try:
        return function(item), ""
    except Exception as error:
        return None, reason(error)
