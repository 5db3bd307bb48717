"""The examples run, alone in an empty folder, and leave what they say; notebooks are kept without outputs."""

import csv
import functools
import runpy
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import embedshift
from support import mean_colour

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))
NOTEBOOKS = sorted(path.name for path in EXAMPLES.glob("*.ipynb"))


def run(name, folder):
    """A script as a user runs it: its exit code, what it printed, and the one folder that it wrote."""
    done = subprocess.run([sys.executable, EXAMPLES / name], cwd=folder, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    written = Path(f"build/{Path(name).stem}")
    assert [path.name for path in folder.iterdir()] == ["build"], "nothing lies elsewhere"
    assert f" in {written}/" in done.stdout.splitlines()[0], "where it writes is printed first"
    return done.returncode, done.stdout, folder / written


def table(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def test_own_augmentation_and_metric(tmp_path, monkeypatch, capsys):
    """In this process, by an encoder that takes no time."""
    mean_colour.in_place_of_bundled(monkeypatch)
    monkeypatch.setattr(embedshift, "run", functools.partial(embedshift.run, workers=0))
    monkeypatch.setattr(sys, "argv", ["own_augmentation_and_metric.py", "elsewhere"])
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / "own_augmentation_and_metric.py"), run_name="__main__")
    written = tmp_path / "elsewhere"
    assert " in elsewhere/" in capsys.readouterr().out.splitlines()[0], "where it writes is printed first"
    study = embedshift.load(written / "own-study")
    assert study.augmentations == ["sepia", "fog", "grey"]
    assert study.info()["counts"]["measured"] == 8
    degrees = {row["augmentation"]: float(row["degrees"]) for row in table(written / "angles.csv")}
    assert degrees.keys() == {"sepia", "fog", "grey"}
    assert all(0 < each < 90 for each in degrees.values())


@pytest.mark.matrix
def test_compare_with_a_gate(tmp_path):
    code, out, written = run("compare_with_a_gate.py", tmp_path)
    assert code == 3
    assert "bfloat16: kept" in out
    assert "quarter-size: broken" in out
    assert (written / "comparison" / "side_by_side.csv").is_file()


@pytest.mark.matrix
def test_find_duplicates(tmp_path):
    code, out, written = run("find_duplicates.py", tmp_path)
    pairs = table(written / "duplicates.csv")
    assert code == 0
    assert f"{min(8, len(pairs))} of {len(pairs)} pairs shown; all are in build/find_duplicates/duplicates.csv" in out
    assert 4 <= len(pairs) <= 8
    assert "4 of 4 copies are among" in out
    first = {frozenset((row["image_id"], row["other"])) for row in pairs[:4]}
    names = ("astronaut-0", "camera-0", "chelsea-0", "china-0")
    assert first == {frozenset((f"{name}.png", f"{name}-copy.jpg")) for name in names}


@pytest.mark.matrix
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_run_and_are_kept_with_their_outputs_in_build(name, tmp_path):
    from nbclient import NotebookClient

    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    kept = EXAMPLES.parent / "build" / "notebooks" / name
    kept.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, kept)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    (content,) = (tmp_path / "build" / Path(name).stem).glob("*/study.json")
    CHECKS[name](embedshift.load(content.parent))


def has_a_report_and_80_rows(study):
    assert (study.folder / "report.html").is_file()
    assert len(study.rows().collect()) == 80


def has_contributions_that_sum_to_1(study):
    for _, part in study.heads().group_by("augmentation"):
        assert part["contribution"].sum() == pytest.approx(1, abs=1e-4)


CHECKS = {"first_look.ipynb": has_a_report_and_80_rows, "attention_and_heads.ipynb": has_contributions_that_sum_to_1}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_are_kept_without_outputs(name):
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        assert not cell.metadata
    assert set(notebook.metadata) == {"kernelspec", "language_info"}


def test_every_example_has_a_test_and_a_line_in_the_list():
    text = (EXAMPLES / "README.md").read_text()
    assert len(SCRIPTS) == 3
    assert {*NOTEBOOKS} == {*CHECKS}
    assert all(f"]({name})" in text for name in (*SCRIPTS, *NOTEBOOKS))
    assert all(f"def test_{Path(name).stem}(" in Path(__file__).read_text() for name in SCRIPTS)
