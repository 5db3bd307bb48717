"""Resources of this process, and the end of its child processes."""

import contextlib
import ctypes
import functools
import gc
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

_PR_SET_PDEATHSIG = 1
# Minimum bytes of address space; with less, libraries do not load, or wait for memory forever.
_LEAST_SPACE = 3 * 2**29
# New objects between two garbage collections of a command: a figure has tens of thousands, all in use.
OBJECTS = 50_000
NO_SPACE = "too little address space for the libraries: raise the limit of this process (`ulimit -v`) to 3 GB or more"


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_thread() -> contextlib.AbstractContextManager[Any]:
    """Context that limits BLAS and OpenMP to one thread, since threads may sum in another order."""
    pools = _thread_pools(len(sys.modules))
    if all(pool.num_threads == 1 for pool in pools.lib_controllers):  # within another such block
        return contextlib.nullcontext()
    limits: contextlib.AbstractContextManager[Any] = pools.limit(limits=1)
    return limits


@contextlib.contextmanager
def one_thread_of(count: Callable[[], int], limit: Callable[[int], object]) -> Iterator[None]:
    """Context that limits a library with a settable number of threads to one."""
    threads = count()
    limit(1)
    try:
        yield
    finally:
        limit(threads)


def one_blas_thread() -> contextlib.AbstractContextManager[Any]:
    """Context that limits OpenBLAS to one thread, for its threads spin beside ours; a user's number stays."""
    if "OPENBLAS_NUM_THREADS" in os.environ:
        return contextlib.nullcontext()
    limits: contextlib.AbstractContextManager[Any] = (
        _thread_pools(len(sys.modules)).select(internal_api="openblas").limit(limits=1)
    )
    return limits


def wait_passively_where_busy() -> None:
    """Makes waiting OpenMP threads sleep if the machine has more work than cores; a user's policy stays."""
    with contextlib.suppress(OSError):
        if os.getloadavg()[0] > (os.cpu_count() or 1):
            os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@contextlib.contextmanager
def collecting_garbage_after(objects: int) -> Iterator[None]:
    """Context with garbage collection after this number of new objects (0 = never), then of the oldest generation."""
    # Imported modules have a million objects in use; collection takes a seventh of the time until the first image.
    before = gc.get_threshold()
    gc.set_threshold(objects, *before[1:])
    try:
        yield
    finally:
        if not objects and not gc.get_freeze_count():  # objects frozen by a user stay frozen
            gc.freeze()
            gc.unfreeze()  # into the oldest generation
        gc.set_threshold(*before)


@functools.lru_cache(maxsize=1)
def _thread_pools(_modules: int) -> Any:
    """Finds the libraries with threads, which takes milliseconds; cached until a module is imported."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def too_little_space() -> bool:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return 0 <= limit < _LEAST_SPACE  # no limit is below 0, or very large


def without_space(error: ImportError) -> bool:
    """Returns whether a library failed to load for lack of address space."""
    return any(words in str(error) for words in ("failed to map segment", "annot allocate memory"))


def end_with_parent(parent: int) -> None:
    """Ends this process as soon as its parent has ended, on Linux even while it is stopped (SIGSTOP)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    # On other systems, and if the parent ended before the call.
    threading.Thread(target=watch, daemon=True).start()
