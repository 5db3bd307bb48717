"""Rules to begin with: of which rows they are, that an equal study keeps them, and what is left out."""

import json
import re

import numpy as np
import pytest
import yaml

import embedshift
from embedshift.errors import UsageError
from embedshift.questions.check.proposal import propose, rounded, two_figures
from embedshift.statistics.halves import agreement_floors, compared_halves, discordance
from embedshift.statistics.vectors import ROTATIONS, halves
from embedshift.store.reader import Reader
from support.comparing import OTHER, farther, turned, variant
from support.graded import MADE, graded
from support.matrix import first_only
from support.revised import without_vectors
from support.searched import ranked, with_search
from support.studies import copied
from support.synthetic import make_study

pytestmark = pytest.mark.slow

TWO = ["blur", "noise"]
NEAR = {"effect": {"blur": 0.3, "noise": 1.0}, "dim": 6}


def rules_of(study, file):
    return yaml.safe_load(propose(study, file).read_text())["rules"]


def commented(file):
    """The rules that are comments."""
    lines = [line.strip()[2:] for line in file.read_text().splitlines() if line.strip().startswith("# - {")]
    return yaml.safe_load("\n".join(lines)) if lines else []


def outcomes(study, rules, against=None):
    return {result.outcome for result in embedshift.check(study, rules, against).results}


def test_rules_are_of_a_pair_and_an_equal_study_keeps_them(tmp_path):
    ranks = {"blur": ranked(40), "noise": ranked(40, lost=8)}
    first = with_search(make_study(tmp_path / "a", 40, TWO, effect={"blur": 0.2, "noise": 2.0}, dim=32), ranks)
    file = tmp_path / "rules.yaml"
    assert [(each["table"], each["metric"], each.get("augmentation")) for each in rules_of(first, file)] == [
        *[("comparison", "relative_shift", name) for name in ("all", *TWO)],
        *[("comparison", "recall@1", name) for name in ("all", *TWO)],
        ("agreement", "neighbours@10", None),
        ("agreement", "cka", None),
    ]
    same = with_search(variant(first, tmp_path / "b", shard_size=64, **OTHER), ranks)
    assert outcomes(same, file, first) == {"kept"}
    other = with_search(variant(first, tmp_path / "c", turned(1), shard_size=64, **OTHER), ranks)
    assert embedshift.check(other, file, first).outcome == "broken", "other embeddings"


def test_absolute_bounds_are_comments_that_the_study_keeps(tmp_path):
    study = with_search(make_study(tmp_path / "a", 50, TWO), {"blur": ranked(50), "noise": ranked(50, lost=10)})
    rules_of(study, tmp_path / "rules.yaml")
    bounds = commented(tmp_path / "rules.yaml")
    shifts = study.summary().filter(metric="cosine_similarity").select("augmentation", "relative_shift_high")
    assert {each["augmentation"]: each["at_most"] for each in bounds if "at_most" in each} == {
        name: rounded(high, "0.01", up=True) for name, high in shifts.iter_rows()
    }
    # Clopper and Pearson: 0.9289 of 50 of 50, 0.6628 of 40.
    least = {each["augmentation"]: each["at_least"] for each in bounds if "at_least" in each}
    assert least == {"blur": 0.92, "noise": 0.66}
    assert outcomes(study, bounds) == {"kept"}
    assert (rounded(0.0279, "0.005", up=True), rounded(0.97, "0.01", up=False)) == (0.03, 0.97)
    assert (two_figures(0.01234, up=True), two_figures(47.9, up=False), two_figures(0.0, up=True)) == (0.013, 47.0, 0.0)


@pytest.mark.parametrize("kept", first_only([True, False]))
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


def test_the_number_of_images_behind_a_rule_is_that_of_power(tmp_path, cli):
    study = make_study(tmp_path / "a", 50, TWO, **NEAR)
    done = cli("check", study.folder, "--init", "--rules", tmp_path / "rules.yaml")
    found = re.findall(r'metric: "(\S+)".* augmentation: "(\w+)", at_\w+: (\S+)}  # about (\S+) images', done.out)
    assert [row[:3] for row in found] == [
        (metric, name, bound)
        for metric, bound in (("relative_shift", "1.05"), ("recall@1", "-0.01"))
        for name in ("all", *TWO)
    ]
    planned = study.table("power", measured=True, ratio=1.05, recall_loss=0.01).filter(table="comparison")
    numbers = {row[:2]: row[2] for row in planned.select("metric", "augmentation", "n").iter_rows()}
    assert {row[:2]: int(row[3].replace(",", "")) for row in found} == numbers


@pytest.mark.matrix
def test_what_is_kept_although_it_is_worse_is_warned_of(tmp_path, cli):
    study = make_study(tmp_path / "a", 50, TWO, **NEAR)
    worse = variant(study, tmp_path / "b", farther(1.18, 0.01), shard_size=64, **OTHER)
    text = "table: comparison, metric: relative_shift, column: ratio, augmentation: all, at_most:"

    def checked_of(study, bound, against):
        (tmp_path / "rules.yaml").write_text(f"rules: [{{{text} {bound}}}]")
        arguments = ("--rules", tmp_path / "rules.yaml", "--against", against.folder, "--json")
        return json.loads(cli("check", study.folder, *arguments).out)

    for bound, words in ((1.5, ["is kept, although the whole interval is worse than the reference"]), (1.1, [])):
        checked = checked_of(worse, bound, study)
        assert [line.partition(") ")[2] for line in checked["warnings"]] == words
        assert checked["outcome"] == ("kept" if words else "broken")
    assert not checked_of(study, 1.5, worse)["warnings"], "better"


@pytest.mark.matrix
def test_families_have_bounds_of_tolerances(tmp_path):
    study = make_study(tmp_path / "a", 40, graded(*MADE))
    file = tmp_path / "rules.yaml"
    assert len(rules_of(study, file)) == 2 * 12 + 2
    bounds = commented(file)
    assert [(each["family"], each["criterion"], [*each][-1]) for each in bounds] == [
        (family, criterion, bound)
        for criterion in ("relative shift 0.1", "missed 5 %")
        for family, bound in (("darker", "at_least"), ("closer", "at_most"))
    ]
    assert outcomes(study, bounds) == {"kept"}


@pytest.mark.matrix
def test_what_a_study_lacks_has_no_rules(tmp_path, monkeypatch):
    study = variant(make_study(tmp_path / "made", 9, TWO, dim=64), tmp_path / "a", farther(300.0))
    assert study.summary().filter(metric="cosine_similarity")["relative_shift"].min() >= 0.9
    whole = Reader.table_names.func
    lacking = property(lambda reader: tuple(name for name in whole(reader) if name != "search_ranks"))
    monkeypatch.setattr(Reader, "table_names", lacking)
    rules = rules_of(study, tmp_path / "rules.yaml")
    assert [each.get("augmentation") for each in rules] == [*TWO, None, None], "all augmentations are saturated"
    assert "No rules of recall: this study has no search" in (tmp_path / "rules.yaml").read_text()


def test_names_of_any_kind_are_read_back_and_one_name_has_no_rule_of_all(tmp_path):
    for number, names in enumerate((["off", "12", 'a: "b" # c', "ü|<x>"], ["blur"])):
        study = make_study(tmp_path / f"a{number}", 20, names)
        file = tmp_path / f"rules{number}.yaml"
        found = [each["augmentation"] for each in rules_of(study, file) if "at_most" in each]
        assert found == [*(["all"] if len(names) > 1 else []), *names]
        assert not embedshift.check(study, file, variant(study, tmp_path / f"b{number}", **OTHER)).of("broken")


@pytest.mark.matrix
def test_what_gives_no_margins_is_refused(tmp_path):
    study, file = make_study(tmp_path / "c", 9, TWO), tmp_path / "mine.yaml"
    file.write_text("mine")
    for given, path, words in (
        (make_study(tmp_path / "a", 7, TWO), "rules.yaml", "has 7 of the 8 images that this needs; measure more"),
        (without_vectors(make_study(tmp_path / "b", 9, TWO)), "rules.yaml", "no embeddings here to take margins from"),
        (study, "mine.yaml", "is there already"),
        (study, "none/rules.yaml", "cannot be written"),
    ):
        with pytest.raises(UsageError, match=words):
            propose(given, tmp_path / path)
    assert file.read_text() == "mine"


# Margins from halves of an encoder's dimensions, against explicit loops.
IMAGES, AUGMENTATIONS, DRAWS, DIM = 14, 2, 2, 12


def made(sizes=(0.3, 1.0)):
    rng = np.random.default_rng(4)
    originals = rng.normal(size=(IMAGES, DIM)) + 1.0
    away = np.array(sizes)[:, None, None] * rng.normal(size=(IMAGES, AUGMENTATIONS, DRAWS, DIM))
    return originals.astype(np.float32), (originals[:, None, None] + away).astype(np.float32)


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def pairs_of(originals, views, seed=7):
    flat = np.concatenate([originals, views.reshape(-1, DIM)])
    for pair in halves(flat, seed=seed):
        parts = [half.astype(np.float64) for half in pair]
        yield [(part[:IMAGES], part[IMAGES:].reshape(*views.shape[:3], -1)) for part in parts]


def test_discordance_and_agreement_are_those_of_loops_over_halves():
    originals, views = made((0.5, 1.0))
    differing, growth, kept = [], [], []
    for pair in pairs_of(originals, views, 11):
        better = np.zeros((2, IMAGES, AUGMENTATIONS, DRAWS))
        for half, (own, changed) in enumerate(pair):
            for i, a, d in np.ndindex(IMAGES, AUGMENTATIONS, DRAWS):
                cosines = [cosine(changed[i, a, d], original) for original in own]
                better[half, i, a, d] = (np.delete(cosines, i) >= cosines[i]).sum()
        gains = ((better[1] == 0).astype(float) - (better[0] == 0)).mean(axis=-1)
        differing.append(np.abs(gains).mean(axis=0))
        both = [(1 - p[0]) * p[1] + (1 - p[1]) * p[0] for p in (better == 0, 0.5**better)]
        whole, half = (each.sum(axis=(0, 2)) for each in both)
        growth.append(np.where(whole > 0, np.log2(np.maximum(whole, 1e-9) / np.maximum(half, 1e-9)), 0).clip(0, 1))
        nearest = []
        for own, _ in pair:
            cosines = own @ own.T - 9 * np.eye(IMAGES)
            nearest.append([set(np.argsort(-row)[:6]) for row in cosines])  # half of the 13 others
        kept.append(np.mean([len(a & b) / 6 for a, b in zip(*nearest, strict=True)]))
    compared = [*compared_halves(originals, views, np.array([True, True]), 11)]
    for a in range(AUGMENTATIONS):
        found = discordance(compared, a, 5)
        assert (found.pilot, found.gallery, found.others) == (IMAGES, IMAGES, 5)
        assert found.fraction == pytest.approx(np.mean(differing, axis=0)[a])
        assert found.growth == pytest.approx(np.mean(growth, axis=0)[a])
    floors = agreement_floors(compared)
    assert floors[0] == pytest.approx(np.mean(kept) - 4 * np.std(kept, ddof=1))
    assert len(kept) == ROTATIONS
    assert floors[1] < 1


def test_images_of_a_group_count_once():
    """Each image twice, as a group of two: the numbers of the images alone."""
    originals, views = made()
    groups, in_all = np.repeat(np.arange(IMAGES), 2), np.array([True, True])
    alone = next(compared_halves(originals, views, in_all, 7))
    twice = next(compared_halves(originals[groups], views[groups], in_all, 7, groups))
    assert twice.log_ratios.error == pytest.approx(alone.log_ratios.error, rel=1e-4)
    both = (discordance([each], 0, 5) for each in (alone, twice))
    assert len({(each.fraction, each.pilot, each.others) for each in both}) == 1
