"""A question that another package brings: one folder, found by its entry point, named by no file of ours."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import embedshift
from embedshift.registry import questions
from support import models
from support.matrix import first_only
from support.models import SIZE, pictures
from support.pages import ROOT, blocks

pytestmark = pytest.mark.slow

PACKAGE = Path(__file__).parent / "outside" / "embedshift_jumps"
SOURCES = Path(embedshift.__file__).parent


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder as `pip install --target` leaves it."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    about = folder / "embedshift_jumps-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: embedshift-jumps\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[embedshift.questions]\njumps = embedshift_jumps\n")
    return folder


def call(site: Path | None, *arguments: object) -> subprocess.CompletedProcess[str]:
    """`embedshift ARGUMENTS` with the package installed, or without."""
    return python(site, "from embedshift.cli import main; main()", *arguments)


# Several commands in one process: what each prints, and which commands' modules the first had imported.
ONE_BY_ONE = """
import contextlib, io, json, sys
from embedshift.cli import main
shown, loaded = [], None
for arguments in json.loads(sys.argv[1]):
    sys.argv[1:] = arguments
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        main()
    shown.append(out.getvalue())
    loaded = [name for name in sys.modules if name.endswith(".command")] if loaded is None else loaded
print(json.dumps([*shown, loaded]))
"""


def python(site: Path | None, code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    path = [str(SOURCES.parent), *([] if site is None else [str(site)])]
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path), "COLUMNS": "160"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def made(site, tmp_path_factory) -> tuple[Path, Path, str]:
    """A study with the question, its images, and its encoder."""
    folder = tmp_path_factory.mktemp("outside")
    photos, model = pictures(folder / "photos", 6), str(models.make("dinov2", folder / "dinov2"))
    out = folder / "study"
    settings = ["--jumps", "--workers", 0, "--batch-size", 20, "--no-report"]
    done = call(site, "run", photos, "--out", out, "--model", model, *settings)
    assert done.returncode == 0, done.stderr
    return out, photos, model


def test_it_is_one_small_folder_and_no_file_of_ours_names_it():
    lines = [line for file in PACKAGE.iterdir() if file.is_file() for line in file.read_text().splitlines()]
    assert len(lines) <= 170
    assert [file for file in SOURCES.rglob("*") if file.is_file() and b"jumps" in file.read_bytes()] == []


def test_contributing_shows_lines_of_the_package():
    """So what it shows is run by the tests of this file."""
    files = [file.read_text() for file in PACKAGE.iterdir() if file.is_file()]
    shown = [
        block for block in blocks((ROOT / "CONTRIBUTING.md").read_text()) if Path(__file__).name in (block.reason or "")
    ]
    assert len(shown) == 7
    for block in shown:
        assert sum(block.text in file for file in files) == 1, f"CONTRIBUTING.md, line {block.line}"


def test_figures_of_ours_leave_numbers_for_other_packages():
    numbers = [number for question in questions() for number, _ in question.figures.values()]
    assert len(set(numbers)) == len(numbers)
    assert max(int(number[:2]) for number in numbers) < 90


def test_every_row_holds_its_number_and_its_list(made):
    """Against the layers of the same views, encoded again, distance by distance."""
    out, photos, model = made
    encoder = embedshift.load_encoder(model, device="cpu")
    rows = pl.read_parquet(out / "shards" / "part-00000.parquet")
    assert rows["jumps"].is_null().to_list() == (rows["view"] == "original").to_list()
    for (image_id,), part in rows.group_by("image_id"):
        image = np.asarray(Image.open(photos / image_id).convert("RGB"))
        views = embedshift.make_views(image, image_id=image_id, size=SIZE)
        with encoder.observing(["layers"]):
            patches = encoder(np.stack(list(views.values()))).layers[:, :, 1].astype(float)
        for place, name in enumerate([*views][1:], start=1):
            far = [np.sqrt(((patches[place, d] - patches[0, d]) ** 2).sum()) for d in range(3)]
            wanted = [far[0], far[1] - far[0], far[2] - far[1]]
            row = part.filter(view=name).row(0, named=True)
            np.testing.assert_allclose(row["jumps"], wanted, atol=1e-4)
            assert row["largest_jump"] == pytest.approx(max(wanted), abs=1e-4)


def test_its_table_is_there(made):
    tables = made[0] / "tables"
    table = pl.read_csv(tables / "jumps.csv")
    assert table.columns == ["augmentation", "layer", "jump", "largest"]
    assert len(table) == 9 * 3
    summary = pl.read_csv(tables / "summary.csv").filter(metric="largest_jump")
    assert summary["n"].to_list() == [6] * 9
    assert not (tables / "layers.csv").exists()


@pytest.mark.matrix
def test_study_check_and_report_have_it(site, made, tmp_path):
    out = made[0]
    done = call(site, "report", out, "--figures", "jumps", "--format", "svg")
    assert done.returncode == 0, done.stderr
    assert (out / "figures" / "fig90_jumps.svg").is_file()
    html = (out / "report.html").read_text()
    section = html[html.index('<section id="jumps">') :].split("</section>")[0]
    assert section.count("</bdi>: block ") == 9
    assert 'alt="What every block adds to the shift"' in section
    table = pl.read_csv(out / "tables" / "jumps.csv")
    most = table.sort("jump", descending=True).row(0, named=True)
    first = html.split('<section id="answers"')[1].split("</section>")[0]
    line = f"Block {most['layer']}, under <b>{most['augmentation']}</b>: {most['jump']:.2f}."
    assert re.search(rf"<dt>Which block adds most to the shift\?</dt>\s*<dd><p class=\"lead\">{re.escape(line)}", first)
    code = "import embedshift, sys; study = embedshift.load(sys.argv[1]);"
    code += "print(study.jumps.__doc__, study.jumps().height, 'jumps' in dir(study))"
    done = python(site, code, out)
    assert done.stdout.split() == ["Mean", "jump", "by", "augmentation", "and", "block.", "27", "True"], done.stderr
    bound = table.filter(layer=2)["jump"].max()
    rules = tmp_path / "rules.yaml"
    rules.write_text(f"rules:\n- table: jumps\n  layer: 2\n  at_most: {bound - 0.01}\n  judge: value\n")
    done = call(site, "check", out, "--rules", rules, "--json")
    results = json.loads(done.stdout)["results"]
    assert [result["row"]["layer"] for result in results] == [2] * 9
    assert [result["outcome"] for result in results].count("broken") >= 1
    assert done.returncode == 3


@pytest.mark.matrix
def test_the_report_is_made_again_with_it_and_does_without_where_it_is_gone(site, made, tmp_path):
    out = tmp_path / "study"
    shutil.copytree(made[0], out)
    before = (out / "tables" / "jumps.csv").read_bytes()
    shutil.rmtree(out / "tables")
    assert call(site, "report", out, "--figures", "jumps").returncode == 0
    assert (out / "tables" / "jumps.csv").read_bytes() == before
    without = call(None, "report", out, "--figures", "heatmap")
    assert without.returncode == 0, without.stderr
    assert "the question 'embedshift_jumps' is not installed here" in without.stderr
    assert 'id="jumps"' not in (out / "report.html").read_text()
    code = "import embedshift, sys; embedshift.load(sys.argv[1]).jumps()"
    assert "no attribute 'jumps'" in python(None, code, out).stderr


def test_its_command_is_listed_under_its_panel_and_loaded_where_it_runs(site, made, cli):
    rows = pl.read_csv(made[0] / "tables" / "jumps.csv")["jump"].to_list()
    least, study = sorted(rows)[len(rows) // 2], str(made[0])
    commands = ["--help"], ["jumps", study, "--least", str(least), "--json"], ["jumps", study], ["jumps", "--help"]
    done = python(site, ONE_BY_ONE, json.dumps(commands))
    assert done.returncode == 0, done.stderr
    listed, as_json, table, of_command, loaded = json.loads(done.stdout)
    panel = listed.partition("Look inside")[2].partition("─ Files and help")[0]
    assert "Print what every block adds to the shift." in panel
    assert "Print what every block adds to the shift." not in cli("--help").out
    assert sorted(row["jump"] for row in json.loads(as_json)["jumps"]) == [row for row in sorted(rows) if row >= least]
    assert f"{max(rows):.3f}" in table
    assert "--least" in of_command
    assert loaded == []


@pytest.mark.matrix
def test_run_and_list_know_it_while_it_is_installed(site):
    for words, where in (
        ("--jumps", ("run", "--help")),
        ("Rarely needed: embedshift_jumps", ("run", "--help")),
        ("Which block adds most to the shift?", ("list", "questions")),
        ("[90] What every block adds to the shift", ("list", "figures")),
        ("Off by default (--jumps)", ("list", "metrics")),
    ):
        assert words in call(site, *where).stdout
        assert words not in call(None, *where).stdout


@pytest.mark.parametrize(
    ("part", "command", "shown"),
    first_only(
        [
            ("__init__", "list questions", "How far does the embedding move?"),
            ("measure", "list metrics", "cosine_similarity"),
            # Figures are listed by what their question declares, and drawn by the file.
            ("figures", "list figures", "What every block adds to the shift"),
            ("figures", "report STUDY --figures heatmap", "Report: "),
        ]
    ),
)
def test_a_file_that_cannot_be_imported_ends_no_command(part, command, shown, site, made, tmp_path):
    shutil.copytree(site, tmp_path / "site")
    (tmp_path / "site" / "embedshift_jumps" / f"{part}.py").write_text("import no_such_module")
    done = call(tmp_path / "site", *(made[0] if word == "STUDY" else word for word in command.split()))
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert shown in done.stdout
    broken = tmp_path / "site" / "embedshift_jumps" / "command.py"
    broken.write_text("import no_such_module")
    if part != "__init__":
        done = call(tmp_path / "site", "jumps", made[0])
        assert (done.returncode, "its command.py cannot be loaded (ModuleNotFoundError: " in done.stderr) == (2, True)
        done = call(tmp_path / "site", *(made[0] if word == "STUDY" else word for word in command.split()))
    what = "the question 'jumps' of another package" if part == "__init__" else f"its {part}.py"
    assert (f"{what} cannot be loaded (ModuleNotFoundError: " in done.stderr) == (command != "list figures")
