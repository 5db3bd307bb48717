"""Examples for fuzzing: few and always the same in the suite; `make fuzz` sets FUZZ_EXAMPLES, and draws new ones.

Example:
    @fuzz.settings
    @given(st.binary())
    def test_fuzz_a_reader(data):
        with fuzz.within(60):
            ...
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Any

import hypothesis

_ASKED = os.environ.get("FUZZ_EXAMPLES")
# A slow machine makes an example slow, and fixtures of files are shared by all examples on purpose.
settings = hypothesis.settings(
    max_examples=int(_ASKED or 25),
    derandomize=_ASKED is None,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)


@contextlib.contextmanager
def within(seconds: int) -> Iterator[None]:
    """Ends what hangs: raises TimeoutError in the main thread."""

    def ring(*_: Any) -> None:
        raise TimeoutError(f"no answer after {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
