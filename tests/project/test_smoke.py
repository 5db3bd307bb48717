"""The smoke test of the wheel notices what a user would miss; `make smoke` runs all of it."""

import sys
import zipfile

import pytest

from support.project import ROOT, script

smoke = script("smoke")


@pytest.fixture
def study(tmp_path):
    """A folder as the demo leaves it, as far as is looked at."""
    for name in ("tables", "figures"):
        (tmp_path / name).mkdir()
    for name in smoke.TABLES:
        (tmp_path / "tables" / f"{name}.parquet").write_bytes(b"rows")
    (tmp_path / "figures" / "09_ranking.png").write_bytes(b"picture")
    (tmp_path / "report.html").write_text("<html></html>")
    return tmp_path


def test_a_whole_study_passes(study):
    assert smoke.check_study(study) == "3 tables, 1 files of figures, a report of 0 KiB"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tables/summary.parquet", "lacks the tables summary"),
        ("figures/09_ranking.png", "no figures"),
        ("report.html", "no whole report"),
    ],
)
@pytest.mark.parametrize("is_empty", [True, False])
def test_what_is_not_there_or_empty_is_missed(study, name, words, is_empty):
    (study / name).write_text("") if is_empty else (study / name).unlink()
    with pytest.raises(smoke.Missing, match=words):
        smoke.check_study(study)


def test_templates_style_and_data_are_looked_for(tmp_path):
    wanted = smoke.in_source()
    assert {
        "embedshift/report/template/page.css",
        "embedshift/report/template/page.html.j2",
        "embedshift/py.typed",
    } <= wanted
    on_disk = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.j2")}
    assert on_disk <= wanted
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as file:
        for name in wanted - {"embedshift/py.typed"}:
            file.writestr(name, "")
    assert smoke.lacking(tmp_path / "a.whl", wanted) == ["embedshift/py.typed"]


def test_commands_see_nothing_of_the_repository(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    code = "import os, sys; print(os.getcwd(), sorted(name for name in os.environ if name.startswith('PYTHON')))"
    assert smoke.run(sys.executable, "-c", code, where=tmp_path).strip() == f"{tmp_path} []"


def test_a_command_that_fails_is_said_with_its_last_lines(tmp_path):
    with pytest.raises(smoke.Missing, match=r"(?s)exit code 3.*no room"):
        smoke.run(sys.executable, "-c", "import sys; print('no room'); sys.exit(3)", where=tmp_path)


def test_megabytes_are_those_of_files(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(bytes(3 * 2**20))
    (tmp_path / "c").symlink_to(tmp_path / "a" / "b")
    assert smoke.megabytes(tmp_path) == 3.0
