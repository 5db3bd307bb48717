"""Too little address space for the libraries is one line, at once, and no traceback."""

import resource
import subprocess
import sys

import pytest

from embedshift.config.processes import NO_SPACE, without_space
from support.command import call
from support.matrix import first_only

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("megabytes", first_only([700, 1_200]))
def test_too_little_address_space_is_one_line(tmp_path, megabytes):
    (tmp_path / "photos").mkdir()
    limit = megabytes * 2**20
    program = "from embedshift.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "run", tmp_path / "photos", "--out", tmp_path / "out"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert " ".join(done.stderr.split()) == f"error: {NO_SPACE}"


def test_a_library_without_space_is_one_line(monkeypatch, capsys):
    def load(*_arguments, **_settings):
        raise ImportError("libtorch_cpu.so: failed to map segment from shared object")

    monkeypatch.setattr("embedshift.study.load", load)
    done = call(monkeypatch, capsys, "report", "study")
    assert (done.code, done.line) == (1, f"error: {NO_SPACE}")
    assert without_space(ImportError("x.so: Cannot allocate memory"))
    assert not without_space(ImportError("No module named 'x'"))
