"""`embedshift check`: exit codes, and what it prints and writes; JUnit's file is read by a parser of such files."""

import html
import json
import os
import re
from pathlib import Path

import junitparser
import pytest
import yaml

import embedshift
from embedshift.study.gate import Checked
from embedshift.study.gate.result import to_junit, to_markdown
from support.command import call
from support.comparing import OTHER, moved, variant
from support.revised import without_vectors
from support.searched import ranked, with_search
from support.synthetic import make_study

pytestmark = pytest.mark.slow

KEPT = {"table": "search", "metric": "recall@1", "augmentation": "blur", "at_least": 0.5, "name": "blur is found"}
BROKEN = {
    "table": "search",
    "metric": "recall@1",
    "augmentation": "noise",
    "at_least": 0.95,
    "name": "noise <is> found",
}
OPEN = {"table": "search", "metric": "recall@1", "augmentation": "blur", "at_least": 0.99, "name": "all | are *found*"}
RELATIVE = {"table": "search", "metric": "recall@1", "augmentation": "noise", "may_fall": 0.15}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    made = make_study(tmp_path_factory.mktemp("check") / "a", 60, ["blur", "noise"])
    return with_search(made, {"blur": ranked(60), "noise": ranked(60, lost=20)})


@pytest.fixture
def check(study, tmp_path, monkeypatch, capsys):
    """`embedshift check STUDY --rules FILE` of some rules."""

    def run(rules, *arguments):
        file = tmp_path / "gate.yaml"
        file.write_text(yaml.safe_dump({"rules": rules}))
        return call(monkeypatch, capsys, "check", study.folder, "--rules", file, *arguments)

    return run


@pytest.mark.parametrize(
    ("rules", "plain", "strict"),
    [([KEPT], 0, 0), ([KEPT, OPEN], 0, 3), ([KEPT, BROKEN], 3, 3), ([BROKEN, OPEN], 3, 3), ([OPEN], 0, 3)],
)
def test_exit_codes(check, rules, plain, strict):
    assert check(rules).code == plain
    assert check(rules, "--strict").code == strict


def test_a_mistake_ends_with_2_and_one_line(check, study, tmp_path, monkeypatch, capsys):
    done = check([{**KEPT, "metric": "recal@1"}])
    assert done.code == 2
    assert "gate.yaml: rule 1: unknown metric 'recal@1'; did you mean 'recall@1'?" in done.line
    missing = call(monkeypatch, capsys, "check", study.folder, "--rules", tmp_path / "none.yaml")
    assert missing.code == 2
    assert missing.line.startswith(f"error: {tmp_path / 'none.yaml'}: no such file; `embedshift check ")
    assert call(monkeypatch, capsys, "check", tmp_path).code == 2
    done = check([{"table": "comparison", "at_least": 0}])
    assert (done.code, "`against`" in done.line, "--against" in done.line) == (2, False, True)


def test_a_study_without_the_table_ends_with_2(check, tmp_path, monkeypatch, capsys):
    other = without_vectors(make_study(tmp_path / "other", 9, ["blur"]))
    check([KEPT])
    done = call(monkeypatch, capsys, "check", other.folder, "--rules", tmp_path / "gate.yaml")
    assert done.code == 2
    assert "rule 1: " in done.line
    assert "no search here" in done.line


def test_people_read_a_table_and_warnings(check):
    done = check([KEPT, BROKEN, OPEN])
    lines = done.out.splitlines()
    (broken,) = (line for line in lines if line.split()[:1] == ["broken"])
    for part in ("noise <is> found", "0.6667", "at least 0.95", "60"):
        assert part in broken
    assert re.search(r"undecided +all \| are \*found\*.* at least 0.99 +60 +368", done.out)
    assert lines[-1].endswith(
        "does not pass: 1 kept, 1 broken, 1 undecided; broken: noise, recall@1 is 0.6667, required: at least 0.95"
    )
    warning = "warning: all | are *found* (blur, recall@1): undecided with 60 images; about 368 would decide it"
    assert warning in done.out
    assert warning in done.err


def test_the_last_line_of_what_is_undecided_names_the_images_and_never_passes(
    check, study, tmp_path, monkeypatch, capsys
):
    for rules, words in (
        ([OPEN], "a: 0 kept, 0 broken, 1 undecided; about 368 images would decide it with a chance of 80 %"),
        ([KEPT, OPEN], "a: 1 kept, 0 broken, 1 undecided; about 368 images would decide it with a chance of 80 %"),
        ([OPEN, {**OPEN, "at_least": 0.95}], "about 72 to 368 images would decide them with a chance of 80 %"),
        ([OPEN, {**OPEN, "at_least": 1}], "2 undecided; about 368 images would decide 1 of them with a chance of 80 %"),
        ([{**OPEN, "at_least": 1}], "1 undecided; more images alone do not decide; the warnings say why"),
    ):
        for strict in ([], ["--strict"]):
            done = check(rules, *strict, "--markdown", tmp_path / "gate.md")
            last = done.out.splitlines()[-1]
            assert last.startswith("INCONCLUSIVE: ")
            assert last.endswith(f"{words}; with --strict that does not pass" if strict else words)
            first = (tmp_path / "gate.md").read_text().splitlines()[0]
            assert "INCONCLUSIVE" in first
            assert ("does not pass" in first) == bool(strict)
            assert "passes" not in done.out
            assert done.code == (3 if strict else 0)
    assert check([KEPT]).out.splitlines()[-1].endswith("a passes: 1 kept, 0 broken, 0 undecided")


def test_one_warning_names_the_most_images_of_all_that_more_images_decide(check):
    others = [{**OPEN, "at_least": bound, "name": f"at least {bound}"} for bound in (0.95, 0.96, 1)]
    done = check([*others, OPEN])
    warnings = [line for line in done.out.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 2
    assert warnings[0].startswith("warning: at least 1 (blur, recall@1): undecided with 60 images; ")
    assert warnings[1] == (
        "warning: all | are *found* (blur, recall@1): undecided with 60 images; about 368 would decide it and 2 others"
    )


@pytest.mark.parametrize("option", [(), ("--json",)])
def test_a_missing_reference_ends_with_2(check, option):
    done = check([KEPT, RELATIVE], *option)
    assert (done.code, done.out) == (2, "")
    assert "gate.yaml: 1 of 2 rules need a reference study: give it by --against (first: rule 2)" in done.line


def test_json_is_one_object(check):
    done = check([KEPT, OPEN], "--json", "--strict")
    found = json.loads(done.out)
    assert (found["outcome"], found["strict"], found["passes"]) == ("undecided", True, False)
    assert [result["outcome"] for result in found["results"]] == ["kept", "undecided"]
    assert found["results"][1]["images_needed"] == 368
    assert len(found["warnings"]) == 1


@pytest.mark.parametrize("strict", [False, True])
def test_junit_is_read_by_its_parser(check, tmp_path, strict):
    file = tmp_path / "gate.xml"
    check([KEPT, BROKEN, OPEN], "--junit", file, *(["--strict"] if strict else []))
    read = junitparser.JUnitXml.fromfile(str(file))
    assert (read.tests, read.failures, read.errors, read.skipped) == (3, 1 + strict, 0, 1 - strict)
    (suite,) = read
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (3, 1 + strict, 0, 1 - strict)
    kept, broken, undecided = suite
    assert kept.is_passed
    assert broken.is_failure
    assert undecided.is_failure if strict else undecided.is_skipped
    assert {case.classname for case in suite} == {"embedshift.search"}
    assert broken.name == "2. noise <is> found (noise, recall@1)"
    assert "value: 0.6667" in broken.result[0].message
    assert "about 368 would decide it" in undecided.result[0].message
    before = suite.tests
    suite.update_statistics()
    assert (suite.tests, suite.failures, suite.skipped) == (before, 1 + strict, 1 - strict), "counts are those of cases"


def test_markdown_is_a_summary_for_a_pull_request(check, tmp_path):
    file = tmp_path / "gate.md"
    check([KEPT, BROKEN, OPEN], "--markdown", file)
    text = file.read_text()
    assert text.startswith("### ")
    assert "does not pass: 1 kept, 1 broken, 1 undecided" in text
    assert (
        "**Warning:** all \\| are \\*found\\* (blur, recall\\@1): undecided with 60 images; about 368 would decide it"
        in text
    )
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("| ")]
    assert {len(row) for row in rows} == {9}
    assert [row[0].strip() for row in rows] == ["outcome", "---", "broken", "undecided", "outcome", "---", "kept"]
    assert html.unescape(rows[2][1].strip()) == "noise <is> found"
    assert "<is>" not in text
    assert "<details><summary>1 kept</summary>" in text


def test_a_file_that_cannot_be_written_is_named(check, tmp_path):
    done = check([KEPT], "--junit", tmp_path / "none" / "gate.xml")
    assert done.code == 1
    assert done.err.endswith(f"error: {tmp_path / 'none' / 'gate.xml'}: No such file or directory\n")
    assert "1 kept" in done.out, "the verdict is not lost"
    for option in ("--junit", "--markdown"):
        os.mkfifo(tmp_path / option)
        assert check([KEPT], option, tmp_path / option).err.endswith(f"{option}: No such device or address\n")


@pytest.mark.matrix
def test_a_reference_is_named_and_a_strange_name_is_no_harm(study, tmp_path, check):
    other = with_search(
        variant(study, tmp_path / "ref|<b>", moved(0.0, 1), **OTHER),
        {"blur": ranked(60), "noise": ranked(60, lost=20)},
    )
    done = check([RELATIVE], "--against", other.folder)
    assert (done.code, done.out.splitlines()[-1].endswith("passes: 1 kept, 0 broken, 0 undecided")) == (0, True)
    found = embedshift.check(study, [RELATIVE | {"name": "ü & <b> \U0001f600"}], other)
    assert found.against == other.folder
    lost = Checked(Path("no-text-\udcff"), None, found.results)
    assert to_markdown(lost).encode().startswith(b"### no-text-? passes")
    (case,) = next(iter(junitparser.JUnitXml.fromstring(to_junit(found, strict=True).encode())))
    assert case.name == "1. ü & <b> \U0001f600 (noise, recall@1)"
    assert "<b>" not in to_markdown(found)


def test_it_writes_rules_to_begin_with_that_the_same_numbers_keep(study, tmp_path, monkeypatch, capsys):
    file = tmp_path / "new.yaml"
    done = call(monkeypatch, capsys, "check", study.folder, "--init", "--rules", file)
    assert (done.code, done.out.splitlines()[0]) == (0, f"Written: {file}")
    assert len(done.out.splitlines()) == 2 + 8, "and the rules"
    same = with_search(variant(study, tmp_path / "same", **OTHER), {"blur": ranked(60), "noise": ranked(60, lost=20)})
    done = call(monkeypatch, capsys, "check", same.folder, "--rules", file, "--against", study.folder)
    assert (done.code, done.out.splitlines()[-1].endswith("passes: 8 kept, 0 broken, 0 undecided")) == (0, True)
    done = call(monkeypatch, capsys, "check", same.folder, "--rules", file)
    assert (done.code, "8 of 8 rules need a reference study: give it by --against" in done.line) == (2, True)
    again = call(monkeypatch, capsys, "check", study.folder, "--init", "--rules", file)
    assert again.code == 2
    assert "is there already; name another file with --rules" in again.line
    wrong = call(monkeypatch, capsys, "check", study.folder, "--init", "--strict")
    assert wrong.code == 2
    assert not (tmp_path / "rules.yaml").exists()
