"""Rules to begin with: of which rows they are, that an equal study keeps them, and what is left out."""

import re

import numpy as np
import polars as pl
import pytest
import yaml

import embedshift
from embedshift.errors import UsageError
from embedshift.store.reader import Reader
from embedshift.study.gate import propose
from embedshift.study.gate import result as output
from embedshift.study.gate.proposal import rounded
from support.command import call
from support.comparing import OTHER, variant
from support.gates import turned
from support.graded import MADE, graded
from support.revised import without_vectors
from support.searched import ranked, with_search
from support.studies import copied
from support.synthetic import make_study

pytestmark = pytest.mark.slow

TWO = ["blur", "noise"]


def rules_of(study, file):
    return yaml.safe_load(propose(study, file).read_text())["rules"]


def moved_by(factor):
    """Another encoder whose views move so many times as far, almost the same for all."""

    def change(rows):
        noise = pl.Series(np.exp(0.01 * np.random.default_rng(0).normal(size=len(rows))))
        return rows.with_columns(cosine_similarity=1 - (1 - pl.col("cosine_similarity")) * factor * noise)

    return change


def commented(file):
    """The rules that are comments."""
    lines = [line.strip()[2:] for line in file.read_text().splitlines() if line.strip().startswith("# - {")]
    return yaml.safe_load("\n".join(lines)) if lines else []


def test_rules_are_of_a_pair_and_an_equal_study_keeps_them(tmp_path):
    ranks = {"blur": ranked(40), "noise": ranked(40, lost=8)}
    first = with_search(make_study(tmp_path / "a", 40, TWO, effect={"blur": 0.2, "noise": 2.0}, dim=32), ranks)
    file = tmp_path / "rules.yaml"
    rules = rules_of(first, file)
    assert [(rule["table"], rule["metric"], rule.get("augmentation")) for rule in rules] == [
        *[("comparison", "relative_shift", name) for name in ("all", *TWO)],
        *[("comparison", "recall@1", name) for name in ("all", *TWO)],
        ("agreement", "neighbours@10", None),
        ("agreement", "cka", None),
    ]
    same = with_search(variant(first, tmp_path / "b", shard_size=64, **OTHER), ranks)
    assert {result.outcome for result in embedshift.check(same, file, first).results} == {"kept"}
    other = with_search(variant(first, tmp_path / "c", turned(1), shard_size=64, **OTHER), ranks)
    assert embedshift.check(other, file, first).outcome == "broken", "other embeddings"


def test_absolute_bounds_are_comments_that_the_study_keeps(tmp_path):
    study = with_search(make_study(tmp_path / "a", 50, TWO), {"blur": ranked(50), "noise": ranked(50, lost=10)})
    file = tmp_path / "rules.yaml"
    rules_of(study, file)
    bounds = commented(file)
    shifts = study.summary().filter(metric="cosine_similarity").select("augmentation", "relative_shift_high")
    assert {rule["augmentation"]: rule["at_most"] for rule in bounds if "at_most" in rule} == {
        name: rounded(high, "0.01", up=True) for name, high in shifts.iter_rows()
    }
    # Clopper and Pearson: 0.9289 of 50 of 50, 0.6628 of 40.
    assert {rule["augmentation"]: rule["at_least"] for rule in bounds if "at_least" in rule} == {
        "blur": 0.92,
        "noise": 0.66,
    }
    assert {result.outcome for result in embedshift.check(study, bounds).results} == {"kept"}


def test_one_augmentation_has_one_rule_of_each_number(tmp_path):
    rules = rules_of(make_study(tmp_path / "a", 24, ["blur"]), tmp_path / "rules.yaml")
    paired = [(rule["metric"], rule["augmentation"]) for rule in rules if rule["table"] == "comparison"]
    assert paired == [("relative_shift", "blur"), ("recall@1", "blur")]


@pytest.mark.parametrize("kept", [False, True])
def test_groups_are_for_the_proposal_alone(tmp_path, kept):
    study = make_study(tmp_path / "a", 24, TWO)
    if kept:
        study.regroup({name: number % 12 for number, name in enumerate(study.reader().ordered_ids())})
    before = {path: path.read_bytes() for path in study.folder.rglob("*") if path.is_file()}
    groups = {name: number % 8 for number, name in enumerate(study.reader().ordered_ids())}
    wanted = propose(copied(study, tmp_path / "b"), tmp_path / "alone.yaml").read_text()
    found = propose(study, tmp_path / "rules.yaml", groups).read_text()
    assert {path: path.read_bytes() for path in study.folder.rglob("*") if path.is_file()} == before
    assert found != wanted
    grouped = copied(study, tmp_path / "c" / "a")
    grouped.regroup(groups)
    assert propose(grouped, tmp_path / "kept.yaml").read_text() == found, "as a study that has them"


def test_a_rule_says_which_change_breaks_it(tmp_path, monkeypatch, capsys):
    study = make_study(tmp_path / "a", 50, TWO, dim=6, effect={"blur": 0.3, "noise": 1.0})
    done = call(monkeypatch, capsys, "check", study.folder, "--init", "--rules", tmp_path / "rules.yaml")
    found = re.findall(r'metric: "(\S+)".* augmentation: "(\w+)", at_\w+: (\S+)}  # broken from (\S+)', done.out)
    assert [row[:2] for row in found[:3]] == [("relative_shift", name) for name in ("all", *TWO)]
    assert all(abs(float(change)) > abs(float(bound)) for *_, bound, change in found)


@pytest.mark.matrix
def test_what_is_kept_although_it_is_worse_is_warned_of(tmp_path):
    study = make_study(tmp_path / "a", 50, TWO, dim=6, effect={"blur": 0.3, "noise": 1.0})
    farther = variant(study, tmp_path / "b", moved_by(1.18), shard_size=64, **OTHER)
    rule = {"table": "comparison", "metric": "relative_shift", "column": "ratio", "augmentation": "all"}
    for bound, words in ((1.5, ["is kept, although the whole interval is worse than the reference"]), (1.1, [])):
        checked = embedshift.check(farther, [rule | {"at_most": bound}], study)
        assert [line.partition(") ")[2] for line in output.warnings(checked)] == words
        assert checked.outcome == ("kept" if words else "broken")
    nearer = embedshift.check(study, [rule | {"at_most": 1.5}], farther)
    assert not output.warnings(nearer), "better"


@pytest.mark.matrix
def test_families_have_bounds_of_tolerances(tmp_path):
    study = make_study(tmp_path / "a", 40, graded(*MADE))
    file = tmp_path / "rules.yaml"
    assert len(rules_of(study, file)) == 2 * 12 + 2
    bounds = commented(file)
    assert [(rule["family"], rule["criterion"], [*rule][-1]) for rule in bounds] == [
        (family, criterion, bound)
        for criterion in ("relative shift 0.1", "missed 5 %")
        for family, bound in (("darker", "at_least"), ("closer", "at_most"))
    ]
    assert {result.outcome for result in embedshift.check(study, bounds).results} == {"kept"}


@pytest.mark.matrix
def test_what_a_study_lacks_has_no_rules(tmp_path, monkeypatch):
    def far(rows):
        cosine = pl.col("cosine_similarity")
        return rows.with_columns(cosine_similarity=(1 - 300 * (1 - cosine)).clip(-1.0))

    study = variant(make_study(tmp_path / "made", 9, TWO, dim=64), tmp_path / "a", far)
    assert study.summary().filter(metric="cosine_similarity")["relative_shift"].min() >= 0.9
    whole = Reader.table_names.func
    lacking = property(lambda reader: tuple(name for name in whole(reader) if name != "search_ranks"))
    monkeypatch.setattr(Reader, "table_names", lacking)
    rules = rules_of(study, tmp_path / "rules.yaml")
    assert [rule.get("augmentation") for rule in rules] == [*TWO, None, None], "all augmentations are saturated"
    assert "No rules of recall: this study has no search" in (tmp_path / "rules.yaml").read_text()


def test_names_of_any_kind_are_read_back(tmp_path):
    names = ["off", "12", 'a: "b" # c', "ü|<x>"]
    study = make_study(tmp_path / "a", 20, names)
    file = tmp_path / "rules.yaml"
    assert [rule["augmentation"] for rule in rules_of(study, file) if "at_most" in rule] == ["all", *names]
    assert not embedshift.check(study, file, variant(study, tmp_path / "b", **OTHER)).of("broken")


@pytest.mark.matrix
def test_what_gives_no_margins_is_refused(tmp_path):
    with pytest.raises(UsageError, match="7 images are too few for intervals; measure 8 or more"):
        propose(make_study(tmp_path / "a", 7, TWO), tmp_path / "rules.yaml")
    with pytest.raises(UsageError, match="no embeddings here to take margins from"):
        propose(without_vectors(make_study(tmp_path / "b", 9, TWO)), tmp_path / "rules.yaml")
    study = make_study(tmp_path / "c", 9, TWO)
    (tmp_path / "rules.yaml").write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        propose(study, tmp_path / "rules.yaml")
    assert (tmp_path / "rules.yaml").read_text() == "mine"
    with pytest.raises(UsageError, match="cannot be written"):
        propose(study, tmp_path / "none" / "rules.yaml")
