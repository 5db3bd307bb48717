"""What `embedshift parity` refuses in one line, and that no function ends it with the exit code of a success."""

import os
import sys

import numpy as np
import pytest
from PIL import Image

CODE = """
import sys
def embed(images): return [[*image.resize((2, 2)).tobytes()] for image in images]
def leave(images): sys.exit(0)
def leave_later(images): return embed(images) if len(images) == 1 else sys.exit(0)
"""


@pytest.fixture
def photos(tmp_path, monkeypatch):
    (tmp_path / "refused_stack.py").write_text(CODE)
    (tmp_path / "leaves_at_once.py").write_text("raise SystemExit(0)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for name in "abc":
        Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(tmp_path / "photos" / f"{name}.png")
    yield tmp_path / "photos"
    sys.modules.pop("refused_stack", None)


EMBED = "python:refused_stack:embed"


@pytest.mark.parametrize(
    "served", ["python:refused_stack:leave", "python:refused_stack:leave_later", "python:leaves_at_once:embed"]
)
def test_a_function_that_ends_the_program_does_not_pass(served, photos, cli):
    done = cli("parity", EMBED, served, photos)
    assert done.code in (1, 2)
    assert "SystemExit" in done.line


@pytest.mark.parametrize("tolerance", ["nan", "-1", "1e9"])
def test_a_tolerance_that_nothing_or_everything_keeps_is_refused(tolerance, photos, cli):
    done = cli("parity", EMBED, EMBED, photos, "--tolerance", tolerance)
    assert (done.code, "--tolerance" in done.line) == (2, True)


@pytest.mark.slow
def test_a_figure_is_refused_before_anything_is_encoded(photos, tmp_path, cli):
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "study.json").write_text("{}")
    wrong = {"a.bmp": "ends with .png", "a": "ends with .png", "report.html": "belongs to the study in", ".": "folder"}
    for name, words in wrong.items():
        done = cli("parity", "python:not:there", EMBED, photos, "--figure", tmp_path / name)
        assert (done.code, words in done.line) == (2, True), done.line
    done = cli("parity", EMBED, EMBED, photos, "--no-causes", "--figure", tmp_path / "fifo.png")
    assert "fifo.png: cannot be written (a FIFO, not a file)" in done.err


def test_the_image_that_cannot_be_read_is_named(photos, cli):
    (photos / "broken.png").write_bytes(b"no image")
    assert "broken.png: not an image" in cli("parity", EMBED, EMBED, photos).line
    (photos / "broken.png").unlink()
    os.mkfifo(photos / "broken.png")
    assert "broken.png: a FIFO, not a file" in cli("parity", EMBED, EMBED, photos).line
