"""What a start imports: nobody waits for what a command does not use."""

import subprocess
import sys

import pytest

import embedshift
from support import studies
from support.matrix import first_only

pytestmark = pytest.mark.slow

HEAVY = {
    "albumentations", "cv2", "jinja2", "matplotlib", "pandas", "plotly", "polars", "pyarrow", "scipy.fft",
    "scipy.spatial", "scipy.special", "scipy.stats", "torch", "transformers",
}  # fmt: skip
COMMAND = "from embedshift.cli import main; main()"


def imported(*arguments):
    done = subprocess.run([sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True)
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time")}


@pytest.mark.parametrize("command", first_only(["--help", "run --help", "report --help", "--version"]))
def test_help_imports_nothing_heavy(command):
    names = imported("-m", "embedshift", *command.split())
    assert not names & (HEAVY | {"numpy", "pydantic"})
    assert "embedshift.cli.app" in names  # else it would not have been looked at


@pytest.mark.parametrize("kind", first_only(["figures", "questions", "encoders", "metrics", "augmentations"]))
def test_a_list_imports_what_it_names_alone(kind):
    assert not imported("-c", COMMAND, "list", kind) & HEAVY


def test_a_command_imports_neither_what_draws_nor_what_encodes_where_it_need_not(tmp_path):
    study = studies.copied(studies.plain(), tmp_path / "study")
    names = imported("-c", COMMAND, "search", str(study.folder))
    assert "embedshift.cli.terminal" in names
    assert not names & {"jinja2", "matplotlib", "plotly", "torch", "transformers"}


@pytest.mark.matrix
def test_a_comparison_that_writes_its_page_imports_no_torch(tmp_path):
    study, other = (studies.copied(studies.plain(), tmp_path / name) for name in ("study", "other"))
    compares = "import sys, embedshift; embedshift.compare(sys.argv[1:3], out=sys.argv[3])"
    assert "torch" not in imported("-c", compares, str(study.folder), str(other.folder), str(tmp_path / "out"))


def test_views_that_are_listed_without_being_made_are_those_of_the_suite():
    from embedshift.augmentations import SUITES, VIEWS, Choice

    assert set(VIEWS) == {"paper", "style"}
    for name, views in VIEWS.items():
        assert views == {each.name: each.description for each in SUITES[name](Choice())}


def test_the_library_imports_nothing_heavy_and_each_of_its_names_what_it_needs_alone():
    assert not imported("-c", "import embedshift") & (HEAVY | {"numpy", "pydantic", "typer"})
    names = imported("-c", "import embedshift; embedshift.load_encoder")
    assert "embedshift.encoders.base" in names
    assert not names & (HEAVY | {"embedshift.runner", "embedshift.study"})
    assert all(getattr(embedshift, name).__name__ == name for name in embedshift.__all__)


def test_every_figure_is_declared_where_it_is_listed():
    from embedshift.figures import FIGURES
    from embedshift.registry import questions

    declared = {name: said for each in questions() for name, said in each.figures.items()}
    assert {name: (FIGURES[name].number, FIGURES[name].title) for name in FIGURES} == declared
    assert {each.name for each in questions() for name in each.figures if FIGURES[name].question != each.name} == set()
