"""Joins and leaves a Ray cluster."""

import contextlib
import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

from embedshift.errors import EmbedshiftError, MissingExtra, reason

log = logging.getLogger(__name__)

# Seconds between two looks at the head.
PING = 5.0


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
