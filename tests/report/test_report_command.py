"""`embedshift report` and the report that `run` writes."""

import json
import subprocess
import sys

import pytest

from embedshift.cli import app
from embedshift.errors import EmbedshiftError
from embedshift.figures import FIGURES
from embedshift.study import Study
from support import studies
from support.command import untouched_logging
from support.models import make
from support.synthetic import write_pictures

# Runs the command line as a user does, and tells at the end whether torch was imported.
PROGRAM = """
import atexit, sys
atexit.register(lambda: print("torch" in sys.modules, file=sys.stderr))
sys.argv = ["embedshift", *sys.argv[1:]]
from embedshift.cli import main
main()
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    return studies.copied(studies.paper(), tmp_path_factory.mktemp("command") / "study")


@pytest.mark.slow
def test_rebuilds_everything_by_its_options_without_torch(study):
    for path in (study.folder / "tables").iterdir():
        path.unlink()
    options = "--figures dendrogram --format svg,pdf --linkage average --clusters-on means --pdist-metric cityblock"
    line = [sys.executable, "-c", PROGRAM, "report", study.folder, *options.split(), "--include-original"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "False"
    assert done.stdout.splitlines()[-1] == f"Report: {study.folder / 'report.html'}"
    written = sorted(path.name for path in (study.folder / "figures").iterdir())
    assert written == ["fig04d_dendrogram.pdf", "fig04d_dendrogram.svg"]
    tables = {path.name for path in (study.folder / "tables").iterdir()}
    assert {"summary.csv", "ranking.csv", "pairwise.csv", "clusters.csv", "claims.csv"} <= tables
    page = (study.folder / "report.html").read_text()
    assert page.count("of the paper</figcaption>") == 1
    assert "average linkage on cityblock distance of mean embeddings" in page
    assert "original" in study.table("clusters")["augmentation"].to_list()


@pytest.mark.slow
def test_wrong_usage_is_named(study, tmp_path, cli):
    for arguments, words in (
        (["--figures", "dendogram"], "did you mean 'dendrogram'?"),
        (["--format", "bmp"], "unknown figure format 'bmp'"),
        (["--format", " ,"], "`formats` is empty; choose from png, svg, pdf"),
        (["--clusters-on", "views"], "unknown clusters on 'views'"),
        (["--images", "nobody.png", "--figures", "views"], "nobody.png: no such image"),
        (["--images", "a.png", "--gallery", "2"], "not both"),
    ):
        with untouched_logging(), pytest.raises(EmbedshiftError) as caught:
            app(["report", str(study.folder), *arguments, "--quiet"], standalone_mode=False)
        assert words in str(caught.value)
        assert caught.value.exit_code == 2
    done = cli("report", tmp_path)
    assert done.code == 2
    assert "no study here" in done.line


@pytest.mark.matrix
@pytest.mark.slow
def test_run_writes_a_report_once(tmp_path, cli, monkeypatch):
    # As if there were no other figures.
    monkeypatch.setattr(FIGURES, "_entries", {name: FIGURES._entries[name] for name in ("heatmap", "dendrogram")})
    write_pictures(tmp_path / "photos", ["a.png", "b.png", "c.png"])
    model, out = make("clip", tmp_path / "model"), tmp_path / "study"
    arguments = ["run", tmp_path / "photos", "--out", out, "--model", model, "--workers", "0"]
    without = cli(*arguments, "--no-report", "--json")
    assert without.code == 0, without.err
    assert json.loads(without.out)["counts"]["measured"] == 3
    assert not (out / "report.html").exists()
    # As after a run that was killed before its report: the study is finished, the report is still made.
    second = cli(*arguments)
    assert second.code == 0, second.err
    assert second.out.splitlines()[-1] == f"Report: {out / 'report.html'}"
    assert len(list((out / "figures").glob("*.svg"))) == 2
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert cli(*arguments).code == 0
    after = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert {path for path in before if before[path] != after.get(path)} <= {out / ".lock"}
