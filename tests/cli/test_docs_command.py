"""`embedshift docs` lists and prints the pages, and the wheel has them."""

import shutil
import tomllib

import pytest
import typer

from embedshift.cli import commands
from support.project import ROOT

PAGES = {path.stem for path in (ROOT / "docs").glob("*.md")}


def test_every_page_is_listed_with_its_title(cli):
    lines = cli("docs").out.splitlines()
    listed = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines}
    assert listed.keys() == PAGES | {"tables"}
    assert listed["search"] == (ROOT / "docs" / "search.md").read_text().splitlines()[0].lstrip("# ")


@pytest.mark.parametrize("name", ["whitening", "whitening.md", "docs/whitening.md"])
def test_a_page_is_printed_without_what_only_tests_read(cli, name):
    page = (ROOT / "docs" / "whitening.md").read_text().splitlines()
    assert cli("docs", name).out.splitlines() == [line for line in page if not line.startswith("<!-- ")]


def test_a_mistyped_page_names_the_nearest(cli):
    done = cli("docs", "serach")
    assert done.code == 2
    assert "did you mean 'search'?" in done.err


def test_another_program_opens_the_file(cli, monkeypatch):
    opened = []
    monkeypatch.setattr(typer, "launch", opened.append)
    assert cli("docs", "check", "--open").err.strip() == f"File: {ROOT / 'docs' / 'check.md'}"
    assert opened == [str(ROOT / "docs" / "check.md")]


def test_the_pages_of_the_wheel_come_first(cli, monkeypatch, tmp_path):
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    monkeypatch.setattr(commands, "FOLDERS", (tmp_path / "docs", commands.FOLDERS[1]))
    assert cli("docs", "app").err.strip() == f"File: {tmp_path / 'docs' / 'app.md'}"


def test_the_wheel_has_the_pages_beside_the_package():
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "docs" in wheel["only-include"]
    assert wheel["sources"]["docs"] == "embedshift/docs"
    assert commands.FOLDERS[0] == ROOT / "src" / "embedshift" / "docs"
