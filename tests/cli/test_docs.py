"""What the docs tell a reader to type is what the command line takes; `embedshift docs` lists and prints the pages."""

import dataclasses
import inspect
import re
import shlex
import shutil
import sys
import tomllib

import pytest
import typer
import yaml

import embedshift
from embedshift.cli import commands
from embedshift.cli.options import given, originals_and_variants
from embedshift.config import AttackConfig, declared_settings, make_attack_config, make_config
from embedshift.errors import UsageError
from support import studies
from support.project import ROOT

NAMES = (
    "run|report|compare|check|list|demo|attack|card|app|search|verify|views|vectors|docs|parity|lock|upgrade|"
    "drift|index|dissect|threshold"
)
COMMAND = re.compile(rf"\bembedshift ((?:{NAMES}) [^`\n]+)")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def typed(text):
    r"""Every `embedshift COMMAND ...` of a page, in code blocks and between backticks; `\` joins lines."""
    code = re.findall(r"```.*?```|`[^`]+`", text.replace("\\\n", " "), re.DOTALL)
    return [line for part in code for line in COMMAND.findall(part)]


def parse(line):
    """What the command line reads from a line, its settings checked as a run checks them; nothing is run."""
    name, *arguments = shlex.split(line, comments=True)
    params = commands()[name].make_context(name, arguments).params
    if name == "run":
        arguments = originals_and_variants(params["images"], params["pairs"])
        make_config(given({name: params[name] for name in declared_settings()} | arguments))
    if name == "attack":
        make_attack_config(given({field.name: params[field.name] for field in dataclasses.fields(AttackConfig)}))
    return params


def test_a_command_in_the_docs_is_taken():
    lines = {(page.name, line) for page in PAGES for line in typed(page.read_text())}
    assert len(lines) > 90
    refused = {}
    for page, line in lines:
        try:
            parse(line)
        except Exception as error:
            refused[page, line] = error
    assert refused == {}


def test_the_rules_and_the_workflow_in_the_docs_are_read(tmp_path):
    rules, workflow = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "check.md").read_text(), re.DOTALL)
    (tmp_path / "rules.yaml").write_text(rules)
    tables = [rule["table"] for rule in yaml.safe_load(rules)["rules"]]
    assert tables == ["search", "comparison", "agreement", "tolerance"]
    with pytest.raises(UsageError, match=r": \d of 4 rules need a reference study"):  # so that all are read
        embedshift.check(studies.plain(), tmp_path / "rules.yaml")
    steps = yaml.safe_load(workflow)["jobs"]["gate"]["steps"]
    found = [line for step in steps for line in COMMAND.findall(step.get("run", "").replace("\\\n", " "))]
    assert [line.split()[0] for line in found] == ["run", "check"]
    assert parse(found[1])["against"] is not None


def command_of_pages():
    """The module of the command `docs`, wherever it lies."""
    return sys.modules[commands()["docs"].callback.__module__]


def test_every_page_is_listed_with_its_title_and_printed_without_what_only_tests_read(cli):
    listed = dict(line.split(maxsplit=1) for line in cli("docs").out.splitlines())
    assert listed.keys() == {path.stem for path in (ROOT / "docs").glob("*.md")} | {"python", "tables"}
    assert listed["search"] == (ROOT / "docs" / "search.md").read_text().splitlines()[0].lstrip("# ")
    page = (ROOT / "docs" / "tiles.md").read_text().splitlines()
    for name in ("tiles", "tiles.md", "docs/tiles.md"):
        assert cli("docs", name).out.splitlines() == [line for line in page if not line.startswith("<!-- ")]


def test_the_reference_of_python_is_made_from_the_docstrings(cli):
    page = cli("docs", "python").out
    assert "::: " not in page
    assert "### embedshift.run\n" in page
    for line in inspect.getdoc(embedshift.run).splitlines():
        assert line.strip() in page, line


def test_a_page_is_opened_and_a_mistyped_one_named(cli, monkeypatch, tmp_path):
    opened = []
    monkeypatch.setattr(typer, "launch", opened.append)
    assert cli("docs", "check", "--open").err.strip() == f"File: {ROOT / 'docs' / 'check.md'}"
    assert opened == [str(ROOT / "docs" / "check.md")]
    done = cli("docs", "serach")
    assert (done.code, "did you mean 'search'?" in done.err) == (2, True)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    folders = command_of_pages().FOLDERS
    monkeypatch.setattr(command_of_pages(), "FOLDERS", (tmp_path / "docs", folders[1]))
    assert cli("docs", "app").err.strip() == f"File: {tmp_path / 'docs' / 'app.md'}", "those of the wheel come first"


def test_the_wheel_has_the_pages_beside_the_package():
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "docs" in wheel["only-include"]
    assert wheel["sources"]["docs"] == "embedshift/docs"
    assert command_of_pages().FOLDERS[0] == ROOT / "src" / "embedshift" / "docs"
