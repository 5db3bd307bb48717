"""What this process takes of the machine: threads for sums, and time for garbage."""

import gc
import os

import pytest

from embedshift.config import BUNDLED
from embedshift.config.processes import wait_passively_where_busy
from embedshift.encoders import bundled, load_encoder
from support.matrix import first_only
from support.processes import run_python

# The pools of BLAS and OpenMP, by a library that finds them anew, with one more loaded after the first limit.
THREADS = """
    import sys
    import numpy
    from threadpoolctl import threadpool_info
    from embedshift.config.processes import one_thread

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
# The threads of OpenBLAS and OpenMP before, during and after a study of vectors, and whether it imports albumentations.
STUDY = """
    import sys
    import numpy
    import embedshift
    from threadpoolctl import threadpool_info

    def threads(kind):
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == kind}

    during = [set(), set()]

    def step(_):
        for seen, kind in zip(during, ("blas", "openmp")):
            seen |= threads(kind)

    vectors, before = numpy.random.default_rng(0).normal(size=(9, 4)), threads("blas")
    embedshift.from_vectors(vectors, {"a": vectors + 0.1}, out=sys.argv[1], progress=step)
    print(before, *during, threads("blas"), "albumentations" in sys.modules, sep=";")
"""
# What was made while an encoder could have been loaded, then the same where a user has frozen objects.
MADE = """
    import gc
    from embedshift.config.processes import collecting_garbage_after

    with collecting_garbage_after(0):
        made = []
    print(any(one is made for one in gc.get_objects(generation=2)), gc.get_freeze_count())
    gc.freeze()
    before = gc.get_freeze_count()
    with collecting_garbage_after(0):
        young = []
    print(any(one is young for one in gc.get_objects(generation=0)), gc.get_freeze_count() == before)
"""


def test_libraries_that_come_later_have_one_thread_too(monkeypatch):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "2")
    assert run_python(THREADS).split() == ["True", "{1}", "2", "True"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "during"), first_only([("OMP_NUM_THREADS", "{1}"), ("OPENBLAS_NUM_THREADS", "{2}")])
)
def test_a_study_in_python_limits_openblas_as_the_command_line_does(variable, during, tmp_path, monkeypatch):
    """Not where the user has set its threads; the user's own process has them back afterwards."""
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv(variable, "2")
    before, blas, openmp, after, imported = run_python(STUDY, str(tmp_path / "study")).strip().split(";")
    assert (before, blas, after, imported) == ("{2}", during, "{2}", "False")
    assert openmp in ("{2}", "set()"), "what torch computes with"


@pytest.mark.parametrize(
    ("load", "given", "wanted"), [(9.0, "", "passive"), (1.0, "", None), (9.0, "active", "active")]
)
def test_openmp_waits_passively_where_the_load_is_above_the_cores(load, given, wanted, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    environment = {"OMP_WAIT_POLICY": given} if given else {}
    monkeypatch.setattr(os, "environ", environment)
    wait_passively_where_busy()
    assert environment.get("OMP_WAIT_POLICY") == wanted


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


def test_what_is_made_without_a_look_for_garbage_is_old_and_what_a_user_has_frozen_stays_so():
    assert run_python(MADE).split() == ["True", "0", "True", "True"]
