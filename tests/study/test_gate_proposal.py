"""Rules to begin with: of which rows they are, that an equal study keeps them, and what is left out."""

import json
import math
import re

import numpy as np
import pytest
import yaml
from scipy import stats

import embedshift
from embedshift.errors import UsageError
from embedshift.statistics.halves import compared_halves, margins_of
from embedshift.statistics.intervals import difference_of_proportions
from embedshift.statistics.vectors import ROTATIONS, halves
from embedshift.store.reader import Reader
from embedshift.study.gate.proposal import propose, rounded, two_figures
from support.comparing import OTHER, farther, turned, variant
from support.graded import MADE, graded
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


def test_a_rule_says_which_change_breaks_it(tmp_path, cli):
    study = make_study(tmp_path / "a", 50, TWO, **NEAR)
    done = cli("check", study.folder, "--init", "--rules", tmp_path / "rules.yaml")
    found = re.findall(r'metric: "(\S+)".* augmentation: "(\w+)", at_\w+: (\S+)}  # broken from (\S+)', done.out)
    assert [row[:2] for row in found[:3]] == [("relative_shift", name) for name in ("all", *TWO)]
    assert all(abs(float(change)) > abs(float(bound)) for *_, bound, change in found)


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
        (make_study(tmp_path / "a", 7, TWO), "rules.yaml", "7 images are too few for intervals; measure 8 or more"),
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


def explicit_errors(pairs):
    """By the jackknife: every image left out of the mean and of both baselines; mean square over rotations."""
    squares = []
    for pair in pairs:
        tables = []
        for originals, views in pair:
            others = np.array([[1 - cosine(one, other) for other in originals] for one in originals])
            own = [[[1 - cosine(originals[i], v) for v in views[i, a]] for i in range(IMAGES)] for a in (0, 1)]
            tables.append((others, np.array(own)))
        numbers = []
        for left in (None, *range(IMAGES)):
            some = [image for image in range(IMAGES) if image != left]
            logs = []
            for others, own in tables:
                baseline = others[np.ix_(some, some)][~np.eye(len(some), dtype=bool)].mean()
                logs.append(np.log(own[:, some] / baseline + 1e-6).mean(axis=(1, 2)))
            by_view = logs[1] - logs[0]
            numbers.append([*by_view, by_view[0]])
        without = np.array(numbers[1:])
        squares.append((IMAGES - 1) / IMAGES * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    return np.sqrt(np.mean(squares, axis=0))


def pairs_of(originals, views, seed=7):
    flat = np.concatenate([originals, views.reshape(-1, DIM)])
    for pair in halves(flat, seed=seed):
        parts = [half.astype(np.float64) for half in pair]
        yield [(part[:IMAGES], part[IMAGES:].reshape(*views.shape[:3], -1)) for part in parts]


def margins(originals, views, in_all, images, seed, groups=None):
    return margins_of([*compared_halves(originals, views, in_all, seed, groups)], images)


def test_ratios_are_twice_the_half_width_of_equal_encoders():
    originals, views = made()
    errors = explicit_errors(pairs_of(originals, views))
    found, broken = margins(originals, views, np.array([True, False]), IMAGES, 7)[0]
    of_each, of_all = stats.t(IMAGES - 1).ppf([1 - 0.025 / 2, 1 - 0.025])
    assert np.log(found) == pytest.approx(2 * np.array([of_each, of_each, of_all]) * errors, rel=0.02)
    assert (found > 1.1).all()
    # Beyond the bound by the half-width of an interval, and by what a study in five is below its truth.
    per_error = (1 + stats.norm.ppf(0.8) / stats.norm.ppf(0.975)) * np.array([of_each, of_each, of_all])
    assert np.log(broken / found) == pytest.approx(per_error * errors, rel=0.02)
    # Of which these images are a part: errors fall with the root.
    many = margins(originals, views, np.array([True, False]), 100 * IMAGES, 7)[0][0]
    t = stats.t(100 * IMAGES - 1).ppf(1 - 0.025 / 2)
    assert math.log(many[0]) == pytest.approx(max(math.log(1.1), 2 * t * errors[0] / 10), rel=0.02)
    nearly = margins(originals, views, np.array([True, False]), 10**6 * IMAGES, 7)[0][0]
    assert nearly.tolist() == [1.1, 1.1, 1.05]


def test_recall_is_the_worst_end_of_halves_and_agreement_four_deviations_below():
    originals, views = made((0.5, 1.0))
    _, (falls, _), floors = margins(originals, views, np.array([True, True]), IMAGES, 11)
    worst = [0.0, 0.0]
    kept = []
    for pair in pairs_of(originals, views, 11):
        found = np.zeros((2, IMAGES, AUGMENTATIONS, DRAWS))
        for half, (own, changed) in enumerate(pair):
            for i, a, d in np.ndindex(IMAGES, AUGMENTATIONS, DRAWS):
                cosines = [cosine(changed[i, a, d], original) for original in own]
                found[half, i, a, d] = cosines[i] > max(np.delete(cosines, i))
        gains = (found[1] - found[0]).mean(axis=-1)
        for a in range(AUGMENTATIONS):
            gained, lost = (np.maximum(side * gains[:, a], 0).sum() for side in (1, -1))
            low, high = difference_of_proportions(gained, lost, IMAGES)
            worst[a] = max(worst[a], -low, high)
        nearest = []
        for own, _ in pair:
            cosines = own @ own.T - 9 * np.eye(IMAGES)
            nearest.append([set(np.argsort(-row)[:6]) for row in cosines])  # half of the 13 others
        kept.append(np.mean([len(a & b) / 6 for a, b in zip(*nearest, strict=True)]))
    least = -difference_of_proportions(0, 1, IMAGES)[0]
    assert falls[:2] == pytest.approx([max(each, least) for each in worst])
    assert floors[0] == pytest.approx(np.mean(kept) - 4 * np.std(kept, ddof=1))
    assert len(kept) == ROTATIONS
    assert floors[1] < 1


def test_images_of_a_group_count_once():
    """Each image twice, as a group of two: the numbers of the images alone."""
    originals, views = made()
    alone = margins(originals, views, np.array([True, True]), IMAGES, 7)
    groups = np.repeat(np.arange(IMAGES), 2)
    twice = margins(originals[groups], views[groups], np.array([True, True]), IMAGES, 7, groups)
    assert twice[0] == pytest.approx(alone[0], rel=1e-4)
    assert twice[1][0, :2] == pytest.approx(alone[1][0, :2], rel=0.2)
