"""What the docs tell a reader to type is what the command line takes."""

import dataclasses
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from embedshift.cli import app
from embedshift.cli.options import given, originals_and_variants
from embedshift.config import AttackConfig, declared_settings, make_attack_config, make_config
from embedshift.study.gate.rules import read_rules

ROOT = Path(__file__).parents[2]
NAMES = "run|report|compare|check|list|demo|attack|card|app|search|verify|whiten|views|vectors|docs|parity|lock"
COMMAND = re.compile(rf"\bembedshift ((?:{NAMES}) [^`\n]+)")


def commands(text: str) -> list[str]:
    r"""Every `embedshift COMMAND ...` of a page, in code blocks and between backticks; `\` joins lines."""
    code = re.findall(r"```.*?```|`[^`]+`", text.replace("\\\n", " "), re.DOTALL)
    return [line for part in code for line in COMMAND.findall(part)]


PAGES = {page.name: commands(page.read_text()) for page in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])}


def parse(line: str) -> dict[str, Any]:
    """What the command line reads from a line, its settings checked as a run checks them; nothing is run."""
    name, *arguments = shlex.split(line, comments=True)
    params: dict[str, Any] = typer.main.get_command(app).commands[name].make_context(name, arguments).params
    if name == "run":
        arguments = originals_and_variants(params["images"], params["pairs"])
        make_config(given({name: params[name] for name in declared_settings()} | arguments))
    if name == "attack":
        make_attack_config(given({field.name: params[field.name] for field in dataclasses.fields(AttackConfig)}))
    return params


@pytest.mark.parametrize(("page", "line"), [(page, line) for page, lines in PAGES.items() for line in lines])
def test_a_command_in_the_docs_is_taken(page, line):
    assert parse(line)


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)


def test_the_rules_in_the_docs_are_read(tmp_path):
    rules, _ = blocks("check.md", "yaml")
    (tmp_path / "rules.yaml").write_text(rules)
    assert [rule.table for rule in read_rules(tmp_path / "rules.yaml")] == [
        "search",
        "comparison",
        "agreement",
        "tolerance",
    ]


def test_the_workflow_in_the_docs_has_a_reference():
    _, workflow = blocks("check.md", "yaml")
    steps = yaml.safe_load(workflow)["jobs"]["gate"]["steps"]
    found = [line for step in steps for line in COMMAND.findall(step.get("run", "").replace("\\\n", " "))]
    assert [line.split()[0] for line in found] == ["run", "check"]
    params = parse(found[1])
    assert params["against"] is not None


def test_commands_are_found_where_they_stand():
    text = "Run `embedshift list encoders`:\n```sh\nembedshift run a \\\n  --out b  # why\n```\nembedshift run away"
    assert commands(text) == ["list encoders", "run a    --out b  # why"]
    assert list(parse("run a b --out c --limit 3  # why")["images"]) == ["a", "b"]
    assert all(PAGES[name] for name in ("README.md", "paper.md", "cluster.md"))


@pytest.mark.parametrize("line", ["run a --no-such-option 3", "run a --limit many", "run a --precision bf16", "list"])
def test_a_wrong_command_would_be_seen(line):
    with pytest.raises(Exception, match=r"(?i)no such option|not a valid|should be|missing"):
        parse(line)
