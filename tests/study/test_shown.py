"""What results show of themselves: a few lines in a terminal, a table below them in a notebook."""

import html
import io
import json
import re
import sys

import numpy as np
import pytest
from PIL import Image

import embedshift
from embedshift.api import shown_progress
from embedshift.report.changes import changes_of, finding
from support import studies
from support.mean_colour import MeanColour
from support.synthetic import write_pictures

RULE = {"table": "summary", "metric": "cosine_similarity", "at_least": -0.9}
DARK = {"dark": lambda image, rng: np.maximum(image // 2, 1)}


def cells(page):
    """The rows of the table of a page, without its head."""
    return [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(<td>.*?)</tr>", page)]


def results():
    study = studies.plain()
    yield study
    yield embedshift.compare(studies.compared()[:2])
    yield embedshift.check(study, [RULE])
    yield embedshift.Whitening(np.zeros(2, np.float32), np.eye(2, dtype=np.float32))


@pytest.mark.slow
def test_one_to_five_lines_and_the_same_in_a_notebook():
    for result in results():
        lines = repr(result).splitlines()
        assert 1 <= len(lines) <= 5, lines
        assert html.unescape(result._repr_html_()).startswith(f"<p>{lines[0]}")


@pytest.mark.slow
def test_a_study_shows_its_relative_shifts_and_where_the_report_is():
    study = studies.plain()
    rows = study.summary().filter(metric="cosine_similarity").sort("relative_shift", descending=True)
    most, least = (
        f"{name} {shift:.3f}" for name, shift in rows[[0, -1]].select("augmentation", "relative_shift").rows()
    )
    assert f"{most} to {least}" in repr(study)
    assert str(study.folder / "report.html") in repr(study)
    assert finding(study.reader(), changes_of(study.reader())) in repr(study)
    assert [row[:2] for row in cells(study._repr_html_())] == [
        [name, f"{shift:.3f}"] for name, shift in rows.select("augmentation", "relative_shift").rows()
    ]
    recall = dict(study.table("search").filter(metric="recall@1").select("augmentation", "value").rows())
    assert "<th>recall@1</th>" in study._repr_html_()
    assert [row[-1] for row in cells(study._repr_html_())] == [f"{recall[name]:.3f}" for name in rows["augmentation"]]


def test_a_study_that_is_not_there_shows_that_and_a_report_that_exists_is_opened(tmp_path, monkeypatch):
    missing = embedshift.Study(tmp_path / "none")
    assert repr(missing).startswith(f"Study('{tmp_path}/none'): ")
    assert html.unescape(missing._repr_html_()) == f"<p>{missing!r}</p>"
    opened, study = [], studies.plain()
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert study.show() == study.folder / "report.html"
    assert opened == [(study.folder / "report.html").resolve().as_uri()]


def test_names_in_markdown_are_texts(tmp_path, cli):
    rules = [RULE | {"name": name} for name in ("a|b <c> *d*", "see https://x.org or www.x.org")]
    (tmp_path / "rules.yaml").write_text(json.dumps({"rules": rules}))
    out = tmp_path / "out.md"
    cli("check", studies.plain().folder, "--rules", tmp_path / "rules.yaml", "--markdown", out)
    assert "| a\\|b &lt;c> \\*d\\* |" in out.read_text()
    assert "| see https\\://x.org or www\\.x.org |" in out.read_text()


@pytest.mark.slow
def test_a_notebook_shows_a_figure_without_a_magic_line():
    png, size = studies.plain().figure("radar")._repr_png_()
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.format == "PNG"
        assert picture.width / size["width"] == 2


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "stream", "is_shown"),
    [(None, Terminal, True), (None, io.StringIO, False), (True, io.StringIO, True), (False, Terminal, False)],
)
def test_a_run_shows_its_progress_where_somebody_waits(given, stream, is_shown, tmp_path, monkeypatch):
    write_pictures(tmp_path / "photos", [f"{n}.png" for n in range(3)], 0)
    errors = stream()
    monkeypatch.setattr("sys.stderr", errors)
    out = tmp_path / "study"
    embedshift.run(tmp_path / "photos", out=out, model=MeanColour(), augmentations=DARK, workers=0, progress=given)
    assert ("3/3" in errors.getvalue()) == is_shown


def test_a_notebook_is_somebody_who_waits_and_a_function_is_called(monkeypatch):
    shell = type("Shell", (), {"kernel": object()})()
    monkeypatch.setitem(sys.modules, "IPython", type("IPython", (), {"get_ipython": lambda: shell}))
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with shown_progress(None) as (_, step):
        assert step is not None
    with shown_progress(print) as (_, step):
        assert step is print
