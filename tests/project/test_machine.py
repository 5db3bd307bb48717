"""What this process takes of the machine: threads for sums, and time for garbage."""

import gc

import pytest

from embedshift.config import BUNDLED
from embedshift.encoders import bundled, load_encoder
from support.processes import run_python

# The pools of BLAS and OpenMP, by a library that finds them anew, with one more loaded after the first limit.
THREADS = """
    import sys
    import numpy
    from threadpoolctl import threadpool_info
    from embedshift.config.machine import one_thread

    def threads():
        return [pool["num_threads"] for pool in threadpool_info()]

    with one_thread():
        first = threads()
    import scipy.linalg
    before = threads()
    with one_thread():
        later = threads()
    print(len(first) < len(later), {*first, *later}, min(before), before == threads())
"""


def test_libraries_that_come_later_have_one_thread_too(monkeypatch):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "2")
    assert run_python(THREADS).split() == ["True", "{1}", "2", "True"]


@pytest.mark.parametrize("fails", [False, True])
def test_no_garbage_is_looked_for_while_an_encoder_is_loaded(fails, monkeypatch):
    seen = []

    def load(**_settings):
        seen.append(gc.get_threshold()[0])
        if fails:
            raise OSError

    monkeypatch.setattr(bundled, "load_bundled", load)
    before = gc.get_threshold()
    with pytest.raises(OSError, match=r"^$") if fails else pytest.MonkeyPatch.context():
        load_encoder(BUNDLED)
    assert seen == [0]
    assert gc.get_threshold() == before
