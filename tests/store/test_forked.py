"""A process that was forked after Polars was used: one line, where Polars would wait for ever."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import embedshift
from embedshift import EmbedshiftError
from embedshift.store import forked
from embedshift.store.forked import refuse_fork
from embedshift.store.reader import Reader
from support import studies
from support.mean_colour import MeanColour
from support.synthetic import write_pictures

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the threads of a process"),
]


def in_fork(work):
    """What work returns or raises in a process that is forked from this one; one that hangs fails."""
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe()

    def tell():
        try:
            theirs.send(work())
        except EmbedshiftError as error:
            theirs.send(error)

    process = context.Process(target=tell)
    process.start()
    try:
        assert mine.poll(20), "it hangs"
        return mine.recv()
    finally:
        process.kill()
        process.join()


def use_polars():
    return pl.DataFrame({"a": [1, 2]}).filter(pl.col("a") > 1)["a"].item()


def test_a_run_and_a_study_are_refused(tmp_path):
    write_pictures(tmp_path / "photos", ["a.png", "b.png"], 0)
    study = studies.plain()
    use_polars()
    settings = {"out": tmp_path / "study", "model": MeanColour(), "families": ["noise"], "workers": 0}
    for work in (
        lambda: embedshift.run(tmp_path / "photos", **settings),
        lambda: embedshift.load(study.folder).summary(),
    ):
        refused = in_fork(work)
        assert isinstance(refused, EmbedshiftError)
        assert str(refused).startswith("this process was forked from one in which Polars was at work")
    assert not (tmp_path / "study").exists()
    refuse_fork()
    assert len(embedshift.run(tmp_path / "photos", **settings).rows().collect()) == 4


def test_a_fork_of_a_fork_is_refused_too():
    use_polars()
    assert isinstance(in_fork(lambda: in_fork(refuse_fork)), EmbedshiftError)


@pytest.mark.matrix
def test_polars_that_is_only_imported_works_in_a_fork():
    """Where nothing has used it: that a table is filtered in the fork shows that the refusal is no guess."""
    program = (
        "import embedshift, polars\n"
        "from embedshift.store.forked import refuse_fork\n"
        "from test_forked import in_fork, use_polars\n"
        "assert in_fork(refuse_fork) is None and in_fork(use_polars) == 2\n"
        "use_polars()\n"
        "assert in_fork(refuse_fork) is not None\n"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    told = {"env": os.environ | {"PYTHONPATH": path}, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-c", program], **told, check=False)
    assert done.returncode == 0, done.stderr


def test_whatever_reads_a_study_is_refused_there(tmp_path, monkeypatch):
    use_polars()
    forked._before()
    monkeypatch.setattr(forked, "_left_behind", False)
    forked._in_child()
    with pytest.raises(EmbedshiftError, match="forked from one in which Polars was at work"):
        Reader(tmp_path)
