"""`--max-failed`: more failed images than that end with exit code 1, after everything is written."""

import functools

import pytest

from embedshift.cli.studies import most_failed
from embedshift.encoders import ENCODERS
from embedshift.figures import FIGURES
from embedshift.study import Study
from support.matrix import first_only
from support.mean_colour import MeanColour
from support.models import pictures

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    monkeypatch.setitem(ENCODERS._entries, "mean-colour", lambda **_settings: MeanColour())
    monkeypatch.setattr(FIGURES, "_entries", {"heatmap": FIGURES["heatmap"]})  # all of a report take long


@pytest.fixture
def run(tmp_path, cli):
    photos = pictures(tmp_path / "photos", 5)
    for name in sorted(photos.iterdir())[:2]:
        name.write_bytes(b"no image")

    settings = ("--model", "mean-colour", "--workers", 0, "--augmentations", "strength", "--families", "blur")
    return functools.partial(cli, "run", photos, "--out", tmp_path / "out", *settings)


@pytest.mark.parametrize(("limit", "code"), [("2", 0), *first_only([("1", 1), ("0.4", 0), ("0.39", 1)])])
def test_more_failures_than_that_end_with_1(limit, code, run, tmp_path):
    done = run("--max-failed", limit, "--no-report")
    assert done.code == code, done.err
    study = Study(tmp_path / "out")
    assert study.is_complete()
    assert not study.verify().damaged
    assert "3 of 5 images measured" in done.out
    last = done.err.splitlines()[-1]
    words = f"error: 2 of 5 images could not be measured, more than --max-failed {limit}; the study is "
    assert last.startswith(words) == bool(code)


def test_more_than_half_need_no_option_and_the_report_is_written_before(run, tmp_path):
    sorted((tmp_path / "photos").iterdir())[2].write_bytes(b"no image")
    done = run()
    assert done.code == 1
    assert (tmp_path / "out" / "report.html").is_file(), "written before"
    assert done.err.splitlines()[-1].startswith("error: 3 of 5 images could not be measured, more than half; the study")
    assert Study(tmp_path / "out").is_complete()
    assert run("--no-report", "--max-failed", "1.0").code == 0


def test_what_is_no_limit_is_one_line_before_anything_is_measured(run, tmp_path):
    for text in ("", "-1", "1.5", "2.0", "five", "5%", "1e2", "nan", "0.1.2"):
        done = run(f"--max-failed={text}")
        assert (done.code, "give a number of images such as 10, or a fraction such as" in done.line) == (2, True)
    assert not (tmp_path / "out").exists()
    assert most_failed("0.29", 100) == 29, "in binary 0.29 of 100 is less"
    assert (most_failed(".5", 3), most_failed("1.", 7), most_failed("7", 1)) == (1.5, 7, 7)
