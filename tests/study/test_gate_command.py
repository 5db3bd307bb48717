"""`embedshift check`: exit codes, and what it prints and writes; JUnit's file is read by a parser of such files."""

import dataclasses
import html
import json
import os
import re

import junitparser
import pytest
import yaml
from inline_snapshot import snapshot

import embedshift
from support.comparing import OTHER, rule, variant
from support.revised import without_vectors
from support.searched import ranked, with_search
from support.studies import copied
from support.synthetic import make_study

pytestmark = pytest.mark.slow

BLUR, NOISE = (f"table: search, metric: recall@1, augmentation: {name}" for name in ("blur", "noise"))
KEPT, BROKEN = f"{BLUR}, at_least: 0.5, name: blur is found", f"{NOISE}, at_least: 0.95, name: noise <is> found"
OPEN, NEVER = (f"{BLUR}, at_least: {bound}, name: all | are *found*" for bound in (0.99, 1))
RELATIVE = f"{NOISE}, may_fall: 0.15"
RANKS = {"blur": ranked(60), "noise": ranked(60, lost=20)}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return with_search(make_study(tmp_path_factory.mktemp("check") / "a", 60, ["blur", "noise"]), RANKS)


@pytest.fixture
def check(study, tmp_path, monkeypatch, cli):
    """`embedshift check a --rules gate.yaml` of some rules, in the folder of the study."""
    monkeypatch.chdir(study.folder.parent)

    def run(rules, *arguments):
        file = tmp_path / "gate.yaml"
        file.write_text(yaml.safe_dump({"rules": [rule(text) for text in rules]}))
        return cli("check", study.folder.name, "--rules", file, *arguments)

    return run


CHANCE = "with a chance of 80 %"
VERDICTS = [
    ([KEPT], 0, 0, "a passes: 1 kept, 0 broken, 0 undecided"),
    ([OPEN], 0, 3, f"INCONCLUSIVE: a: 0 kept, 0 broken, 1 undecided; about 368 images would decide it {CHANCE}"),
    ([KEPT, OPEN], 0, 3, f"INCONCLUSIVE: a: 1 kept, 0 broken, 1 undecided; about 368 images would decide it {CHANCE}"),
    (
        [OPEN, OPEN.replace("0.99", "0.95")], 0, 3,
        f"INCONCLUSIVE: a: 0 kept, 0 broken, 2 undecided; about 72 to 368 images would decide them {CHANCE}",
    ),
    (
        [OPEN, NEVER], 0, 3,
        f"INCONCLUSIVE: a: 0 kept, 0 broken, 2 undecided; about 368 images would decide 1 of them {CHANCE}",
    ),
    (
        [NEVER], 0, 3,
        "INCONCLUSIVE: a: 0 kept, 0 broken, 1 undecided; more images alone do not decide; the warnings say why",
    ),
    (
        [KEPT, BROKEN], 3, 3,
        "a does not pass: 1 kept, 1 broken, 0 undecided; broken: noise, recall@1 is 0.6667, required: at least 0.95",
    ),
    (
        [OPEN, *[BROKEN] * 4], 3, 3,
        f"a does not pass: 0 kept, 4 broken, 1 undecided; broken: "
        f"{'; '.join(['noise, recall@1 is 0.6667, required: at least 0.95'] * 3)}; and 1 more",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rules", "plain", "strict", "words"), VERDICTS)
def test_rules_have_an_exit_code_and_a_verdict(check, tmp_path, rules, plain, strict, words):
    done = check(rules)
    assert (done.code, done.out.splitlines()[-1]) == (plain, words)
    done, is_open = check(rules, "--strict", "--markdown", tmp_path / "gate.md"), "INCONCLUSIVE" in words
    assert (done.code, done.out.splitlines()[-1]) == (
        strict, f"{words}{'; with --strict that does not pass' if is_open else ''}"
    )  # fmt: skip
    first = (tmp_path / "gate.md").read_text().splitlines()[0]
    assert ("INCONCLUSIVE" in first, "does not pass" in first) == (is_open, strict == 3)


def test_a_checkpoint_that_loses_twenty_points_fails_and_an_equal_one_passes(study, tmp_path, cli):
    """200 images; the proposed margins are the user's question, and not the noise of the images."""
    old = with_search(make_study(tmp_path / "old", 200, ["blur", "noise"]), {name: ranked(200) for name in RANKS})
    rules = tmp_path / "rules.yaml"
    assert cli("check", old.folder, "--init", "--rules", rules).code == 0
    margins = {
        (each["metric"], each.get("at_least", each.get("at_most")))
        for each in yaml.safe_load(rules.read_text())["rules"][:6]
    }
    assert margins == {("relative_shift", 1.05), ("recall@1", -0.01)}
    gate = ("--rules", rules, "--against", old.folder)
    itself = cli("check", old.folder, *gate, "--strict")
    assert (itself.code, "8 kept" in itself.out.splitlines()[-1]) == (0, True), "a study beside itself"
    for lost, code in ((40, 3), (12, 3), (0, 0)):
        ranks = {"blur": ranked(200, lost=lost), "noise": ranked(200)}
        done = cli("check", with_search(variant(old, tmp_path / f"new{lost}", **OTHER), ranks).folder, *gate, "--json")
        outcomes = {result["outcome"] for result in json.loads(done.out)["results"]}
        assert (done.code, outcomes >= {"broken"}) == (code, lost > 0), lost


def test_a_rule_that_is_worse_fails_unless_it_is_allowed(study, tmp_path, cli):
    new = with_search(variant(study, tmp_path / "new", **OTHER), RANKS | {"blur": ranked(60, lost=8)})
    rules, xml = tmp_path / "gate.yaml", tmp_path / "gate.xml"
    rules.write_text("rules:\n- {table: search, metric: recall@1, augmentation: blur, may_fall: 0.1}\n")
    gate = ("check", new.folder, "--rules", rules, "--against", study.folder)
    done, allowed = cli(*gate, "--junit", xml), cli(*gate, "--allow-worse")
    assert (done.code, allowed.code) == (3, 0)
    said = "does not pass: 0 kept, 1 worse, 0 broken, 0 undecided; worse: blur, recall@1 is -0.1333, required: fall by"
    assert said in done.out.splitlines()[-1]
    assert junitparser.JUnitXml.fromfile(str(xml)).failures == 1
    assert "passes: 0 kept, 1 worse" in allowed.out
    said = (json.loads(cli(*gate, "--json", *more).out) for more in ([], ["--allow-worse"]))
    assert [(each["allow_worse"], each["passes"]) for each in said] == [(False, False), (True, True)]


def test_people_read_a_table_and_warnings(check):
    done = check([KEPT, BROKEN, OPEN])
    for pattern in (
        r"broken +noise <is> found .* 0\.6667 .* at least 0\.95 +60",
        r"undecided +all \| are \*found\*.* at least 0\.99 +60 +368",
    ):
        assert re.search(pattern, done.out), done.out
    warning = "warning: all | are *found* (blur, recall@1): undecided with 60 images; about 368 would decide it"
    assert warning in done.out
    assert warning in done.err


def test_one_warning_names_the_most_images_of_all_that_more_images_decide(check):
    named = [OPEN.replace("0.99, name: all | are *found*", f"{bound}") for bound in (0.95, 0.96, 1, 0.99)]
    assert [line for line in check(named).out.splitlines() if line.startswith("warning: ")] == snapshot(
        [
            "warning: search: value at least 1 (blur, recall@1): undecided with 60 images; "
            "more images do not help: the value equals the bound",
            "warning: search: value at least 0.99 (blur, recall@1): undecided with 60 images; "
            "about 368 would decide it and 2 others",
        ]
    )


def test_a_mistake_ends_with_2_and_one_line(check, study, tmp_path, cli):
    done = check(["table: search, metric: recal@1, at_least: 0.5"])
    assert (done.code, "gate.yaml: rule 1: unknown metric 'recal@1'; did you mean" in done.line) == (2, True)
    missing = cli("check", study.folder, "--rules", tmp_path / "none.yaml")
    assert missing.code == 2
    assert missing.line.startswith(f"error: {tmp_path / 'none.yaml'}: no such file; `embedshift check ")
    assert cli("check", tmp_path).code == 2
    for option in ((), ("--json",)):
        done = check([KEPT, RELATIVE], *option)
        assert (done.code, done.out) == (2, "")
        assert "gate.yaml: 1 of 2 rules need a reference study: give it by --against (first: rule 2)" in done.line
    check([KEPT])
    other = without_vectors(make_study(tmp_path / "other", 9, ["blur"]))
    done = cli("check", other.folder, "--rules", tmp_path / "gate.yaml")
    assert (done.code, re.search("rule 1: .*no search here", done.line) is not None) == (2, True)


def test_json_is_one_object(check):
    found = json.loads(check([KEPT, OPEN], "--json", "--strict").out)
    assert (found["outcome"], found["strict"], found["passes"]) == ("undecided", True, False)
    assert [result["outcome"] for result in found["results"]] == ["kept", "undecided"]
    assert found["results"][1]["images_needed"] == 368
    assert len(found["warnings"]) == 1


@pytest.mark.parametrize("strict", [False, True])
def test_junit_is_read_by_its_parser(check, tmp_path, strict):
    file = tmp_path / "gate.xml"
    check([KEPT, BROKEN, OPEN], "--junit", file, *(["--strict"] if strict else []))
    read = junitparser.JUnitXml.fromfile(str(file))
    (suite,) = read
    for counts in (read, suite):
        assert (counts.tests, counts.failures, counts.errors, counts.skipped) == (3, 1 + strict, 0, 1 - strict)
    kept, broken, undecided = suite
    assert (kept.is_passed, broken.is_failure) == (True, True)
    assert undecided.is_failure if strict else undecided.is_skipped
    assert {case.classname for case in suite} == {"embedshift.search"}
    assert broken.name == "2. noise <is> found (noise, recall@1)"
    assert "value: 0.6667" in broken.result[0].message
    assert "about 368 would decide it" in undecided.result[0].message


def test_markdown_is_a_summary_for_a_pull_request(check, tmp_path):
    check([KEPT, BROKEN, OPEN], "--markdown", tmp_path / "gate.md")
    text = (tmp_path / "gate.md").read_text()
    assert text.startswith("### a does not pass: 1 kept, 1 broken, 1 undecided")
    assert "**Warning:** all \\| are \\*found\\* (blur, recall\\@1): undecided with 60 images; about 368 would" in text
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("| ")]
    head = [row for row in rows if len(row) == 3]
    assert [row[0].strip() for row in head[:2]] == ["change", "---"]
    rows = [row for row in rows if len(row) == 9]
    assert [row[0].strip() for row in rows] == ["outcome", "---", "broken", "undecided", "outcome", "---", "kept"]
    assert html.unescape(rows[2][1].strip()) == "noise <is> found"
    assert "<is>" not in text
    assert "<details><summary>1 kept</summary>" in text


def test_a_file_that_cannot_be_written_is_named(check, tmp_path):
    done = check([KEPT], "--junit", tmp_path / "none" / "gate.xml")
    assert (done.code, "1 kept" in done.out) == (1, True), "the verdict is not lost"
    assert done.err.endswith(f"error: {tmp_path / 'none' / 'gate.xml'}: No such file or directory\n")
    for option in ("--junit", "--markdown"):
        os.mkfifo(tmp_path / option)
        assert check([KEPT], option, tmp_path / option).err.endswith(f"{option}: No such device or address\n")


def test_strange_names_are_no_harm(study, tmp_path, monkeypatch, cli):
    files = "--junit", tmp_path / "gate.xml", "--markdown", tmp_path / "gate.md"
    (tmp_path / "gate.yaml").write_text(f"rules: [{{{BLUR}, at_least: 0.5, name: 'ü & <b> \U0001f600'}}]")
    lost = copied(study, tmp_path / "no\x1btext")
    monkeypatch.chdir(tmp_path)
    assert cli("check", lost.folder.name, "--rules", "gate.yaml", *files).code == 0
    text = (tmp_path / "gate.md").read_bytes()
    assert text.startswith(b"### no?text passes")
    (case,) = next(iter(junitparser.JUnitXml.fromstring((tmp_path / "gate.xml").read_bytes())))
    assert case.name == "1. ü & <b> \U0001f600 (blur, recall@1)"
    assert b"<b>" not in text


def test_numbers_have_four_figures_and_five_decimals(study, tmp_path):
    found = embedshift.check(study, [rule(f"{BLUR}, at_least: 0.5"), rule(RELATIVE)], copied(study, tmp_path / "b"))
    kept, fallen = found.results
    results = [dataclasses.replace(kept, value=value) for value in (0.98765, -7.12e-05, None)]
    html = type(found)(found.study, None, (*results, dataclasses.replace(fallen, value=0.01)))._repr_html_()
    assert re.findall(r"<td>recall@1</td>|<td>([^<]+)</td>", html)[3::8] == ["0.9877", "-0.00007", "-", "+0.01"]


def test_it_writes_rules_to_begin_with_that_the_same_numbers_keep(study, tmp_path, cli):
    file = tmp_path / "new.yaml"
    done = cli("check", study.folder, "--init", "--rules", file)
    assert (done.code, done.out.splitlines()[0]) == (0, f"Written: {file}")
    assert len(done.out.splitlines()) == 2 + 8, "and the rules"
    same = with_search(variant(study, tmp_path / "same"), RANKS)
    done = cli("check", same.folder, "--rules", file, "--against", study.folder)
    assert (done.code, done.out.splitlines()[-1].endswith("passes: 8 kept, 0 broken, 0 undecided")) == (0, True)
    again = cli("check", study.folder, "--init", "--rules", file)
    assert (again.code, "is there already; name another file with --rules" in again.line) == (2, True)
    assert cli("check", study.folder, "--init", "--strict").code == 2
    assert not (tmp_path / "rules.yaml").exists()
