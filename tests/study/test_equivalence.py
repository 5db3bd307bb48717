"""Equivalence within margins: ends and images against SciPy and loops, the sentences of `compare`, and `check`."""

import json
import math
import re

import numpy as np
import pytest
from inline_snapshot import snapshot
from scipy import stats

import embedshift
from embedshift.errors import UsageError
from embedshift.statistics.equivalence import Margins, of_ratio, of_recall
from embedshift.statistics.judged import Outcomes, judge
from embedshift.statistics.power import images_for_equivalence
from embedshift.statistics.sample import estimates_from_values
from embedshift.statistics.shift_ratios import apart
from support.comparing import farther, variant
from support.revised import without_vectors
from support.searched import ranked, with_search
from support.synthetic import make_study
from support.tango import slow_tango

Z90, Z80 = stats.norm.ppf([0.95, 0.8])
EFFECT = {"noise": 0.8, "blur": 0.3, "horizontal_flip": 0.5, "elastic": 0.4}


def recall_of(margin, images, lost=0, won=0):
    """An alternative beside a reference: what only it finds, and what only the reference finds."""
    before, after = np.ones((images, 1, 1)), np.ones((images, 1, 1))
    after[:lost] = before[lost : lost + won] = 0.0
    return of_recall(judge(Outcomes(before), Outcomes(after), seed=0).only(0), Margins(recall=margin))


def slow_ends(logs):
    """The wider of Student's and the bootstrap-t's ends, each one-sided at 95 %, by a loop over its own resamples."""
    n, mean, error = len(logs), logs.mean(), stats.sem(logs)
    drawn = np.random.default_rng(1).choice(logs, (20_000, n))
    lower, upper = np.quantile((drawn.mean(axis=1) - mean) / stats.sem(drawn, axis=1), [0.05, 0.95])
    student = stats.t.ppf(0.95, n - 1)
    return mean - max(student, upper) * error, mean + max(student, -lower) * error


def test_a_ratio_takes_two_one_sided_tests():
    rng, said, margin = np.random.default_rng(2), set(), math.log(1.05)
    for mean, n in ((0.0, 60), (0.02, 25), (0.2, 25), (-0.2, 25), (0.04, 30)):
        logs = rng.normal(mean, 0.1, n)
        found = of_ratio(estimates_from_values(logs[:, None]), Margins(1.05), seed=0)
        low, high = slow_ends(logs)
        assert math.log(found.value) == pytest.approx(logs.mean(), rel=1e-10)
        # Resamples of one and the other agree within .1 standard errors.
        assert (math.log(found.low), math.log(found.high)) == pytest.approx((low, high), abs=0.1 * stats.sem(logs))
        outcome = "undecided"
        if low > -margin and high < margin:
            outcome = "equivalent"
        elif low > margin or high < -margin:
            outcome = "not equivalent"
        needed = images_for_equivalence(logs.mean(), logs.std(ddof=1), margin) if outcome == "undecided" else None
        assert (found.outcome, found.needed) == (outcome, needed)
        said.add(found.in_words())
    assert said == snapshot(
        {"equivalence within 5 % is undecided: about 132 images", "equivalent within 5 %", "not equivalent within 5 %"}
    )


def test_ends_of_a_ratio_are_student_s_or_wider():
    skewed = np.random.default_rng(4).lognormal(sigma=0.8, size=25) / 10
    for logs in (skewed, -skewed, np.tile([-0.1, 0.1], 12)):
        found = of_ratio(estimates_from_values(logs[:, None]), Margins(1.05), seed=0)
        low, high = stats.t.interval(0.9, len(logs) - 1, logs.mean(), stats.sem(logs))
        assert math.log(found.low) <= low + 1e-12
        assert math.log(found.high) >= high - 1e-12
    wider = [of_ratio(estimates_from_values(each[:, None]), Margins(1.05), seed=0) for each in (skewed, -skewed)]
    high = stats.t.interval(0.9, 24, skewed.mean(), stats.sem(skewed))[1]
    assert math.log(wider[0].high) > high + 0.3 * stats.sem(skewed), "the long tail is above"
    assert math.log(wider[1].low) < -high - 0.3 * stats.sem(skewed)


def test_recall_is_judged_by_tango_s_one_sided_ends():
    for margin, counts, words in (
        (0.01, (268,), "equivalent within 1 point"),
        (0.01, (267,), "equivalence within 1 point is undecided: about 268 images"),
        (0.1, (100, 3, 2), "equivalent within 10 points"),
        (0.05, (100, 0, 20), "not worse by more than 5 points"),
        (0.1, (100, 30, 2), "not equivalent within 10 points"),
        (0.05, (100, 6, 1), "equivalence within 5 points is undecided: more images would not decide"),
        (0.05, (100, 9, 2), None),
        (0.025, (60, 2, 1), None),
    ):
        found, (images, lost, won) = recall_of(margin, *counts), (*counts, 0, 0)[:3]
        assert (found.low, found.high) == pytest.approx(slow_tango(won, lost, images, Z90), abs=1e-9)
        if words is None:
            ends = ((n, *slow_tango(won * n / images, lost * n / images, n, Z90)) for n in range(images, 20_000))
            enough = next(n for n, low, high in ends if low > -margin or high < -margin)
            needed = math.ceil(enough * ((Z90 + Z80) / Z90) ** 2)
            words = f"equivalence within {100 * margin:g} points is undecided: about {needed:,} images"
        assert found.in_words() == words
    assert recall_of(0.5, 7).in_words() == "equivalence within 50 points is undecided: about 8 images"


@pytest.mark.slow
def test_ratios_are_called_apart_only_where_a_joint_test_fails():
    included, said, spread = np.array([True] * 4 + [False]), 0, [0.1, 0.1, 0.2, 0.3, 0.1]
    for seed in range(150):
        logs = np.random.default_rng(seed).normal([0.3] * 4 + [9], spread, (24, 5))
        said += bool(apart(estimates_from_values(logs), included, seed=seed))
    assert said <= 7.5 + 3 * (150 * 0.05 * 0.95) ** 0.5
    logs = np.random.default_rng(0).normal([0, 0, 0, 0.6, 9], 0.1, (24, 5))
    assert apart(estimates_from_values(logs), included, seed=0) == [0, 1, 2, 3], "the mean lies between"
    logs[:, 1] = np.nan
    assert apart(estimates_from_values(logs), included, seed=0) == [0, 2, 3]
    assert apart(estimates_from_values(logs[:7]), included, seed=0) == []
    assert apart(estimates_from_values(logs[:, 3:]), np.array([True, False]), seed=0) == []


@pytest.fixture(scope="module")
def trio(tmp_path_factory):
    """A study, one whose views move 1.03 times as far and that finds fewer, and one of uneven ratios that finds all."""
    folder, uneven = tmp_path_factory.mktemp("equivalence"), {"noise": 1.5, "blur": 1.5}
    made = [make_study(folder / "a", 40, [*EFFECT], effect=EFFECT, dim=16)]
    for name, by in (("b", 1.03), ("c", uneven)):
        other = {"encoder": {"name": name}, "identity": {"weights_hash": name * 64}}
        made.append(variant(made[0], folder / name, farther(by, 0.1), **other))
    lost = [(0, 0, 0, 0), (2, 3, 0, 1), (0, 0, 0, 0)]
    return [
        with_search(study, {view: ranked(40, lost=each) for view, each in zip(EFFECT, counts, strict=True)})
        for study, counts in zip(made, lost, strict=True)
    ]


@pytest.mark.slow
def test_the_sentences_say_what_the_margins_ask(trio):
    narrow = embedshift.compare(trio, shift_margin=1.01, recall_margin=0.01).verdict
    wide = embedshift.compare(trio[:2], shift_margin=1.5, recall_margin=0.15).verdict
    said = [part for line in f"{narrow}\n{wide}".splitlines() for part in re.split("augmentations: |[;,] |]: ", line)]
    assert [part for part in said if re.search("equivalent|equivalence| under ", part)] == snapshot(
        [
            "not equivalent within 1 %",
            "equivalence within 1 point is undecided: about 142 images",
            "not equivalent within 1 %",
            "its ratio is not the same under all: 1.54 under blur [1.48 to 1.61]",
            "1.50 under noise [1.44 to 1.57]",
            "0.977 under horizontal_flip [0.936 to 1.019] and 1.016 under elastic [0.969 to 1.065]",
            "equivalence within 1 point is undecided: about 268 images",
            "equivalent within 50 %",
            "equivalent within 15 points",
        ]
    )


@pytest.mark.slow
def test_check_judges_the_same_margins_without_rules(trio, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    row = embedshift.compare(trio[:2]).comparison.filter(augmentation="all", metric="relative_shift").row(0, named=True)
    value, *ends = (math.log(row[name]) for name in ("ratio", "ratio_low", "ratio_high"))
    narrower = stats.t.ppf(0.95, 39) / stats.t.ppf(0.975, 39)
    wanted = [math.exp(each) for each in (value, *(value + (end - value) * narrower for end in ends))]
    given = ("check", trio[1].folder, "--against", trio[0].folder, "--shift-margin", 1.05, "--recall-margin", 0.01)
    done = cli(*given, "--json")
    shift, recall = json.loads(done.out)["results"]
    # Ends are Student's, or those of resamples where these are wider.
    assert [shift[name] for name in ("value", "low", "high")] == pytest.approx(wanted, rel=1e-3)
    assert (shift["value"], *np.clip(wanted[1:], shift["low"], shift["high"])) == pytest.approx(wanted, rel=1e-9)
    assert recall["value"] == pytest.approx(-6 / 160)
    assert [recall[name] for name in ("number", "operator", "bound")] == [2, "at_least", -0.01]
    assert [shift["outcome"], recall["outcome"], done.code] == ["worse", "undecided", 3]
    assert cli(*given, "--allow-worse").code == 0
    assert cli(*given, "--allow-worse", "--strict").code == 3
    assert cli("check", trio[2].folder, *given[2:6]).code == 3, "broken"


@pytest.mark.slow
def test_without_a_reference_every_pair_of_augmentations_is_judged(trio, tmp_path):
    results = embedshift.check(trio[0], [], shift_margin=2.0, recall_margin=0.2).results
    table, wanted = trio[0].differences().filter(metric="cosine_similarity"), []
    for low, high in table.select("ratio_low", "ratio_high").iter_rows():
        is_kept = low > 0.5 and high < 2
        wanted.append("kept" if is_kept else "broken" if high < 0.5 or low > 2 else "undecided")
    assert [result.outcome for result in results] == [*wanted, *["kept"] * 6]
    assert {*wanted} == {"broken", "kept", "undecided"}
    for result in results[:6]:
        away, half = abs(abs(math.log(result.value)) - math.log(2)), math.log(result.high / result.low) / 2
        needed = 40 * ((stats.norm.ppf(0.975) + Z80) / stats.norm.ppf(0.975) * half / away) ** 2
        assert result.images_needed == (math.ceil(needed) if result.outcome == "undecided" else None)
    few = make_study(tmp_path / "few", 7, ["noise", "blur"])
    checked = embedshift.check(few, [], shift_margin=1.05, recall_margin=0.01)
    assert [(each.outcome, each.images_needed) for each in checked.results] == [("undecided", 8)] * 2
    with pytest.raises(UsageError, match="margin of recall@1 needs a search"):
        embedshift.check(without_vectors(few), [], recall_margin=0.01)


@pytest.mark.slow
def test_mistakes_of_margins_are_one_line(trio, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command, arguments, words in (
        ("compare", (trio[1].folder, "--shift-margin", 1), "--shift-margin 1: give a factor above 1, such as 1.05"),
        ("check", ("--shift-margin", "nan"), "--shift-margin nan: give a factor above 1"),
        ("check", ("--recall-margin", 1), "--recall-margin 1: give a fraction above 0 and below 1, such as 0.01"),
        ("check", ("--rules", "no.yaml", "--recall-margin", 0.1), "no.yaml: no such file"),
        ("check", (), "rules.yaml: no such file"),
        ("check", ("--init", "--recall-margin", 0.1), "--init writes rules and checks nothing"),
        ("check", ("--init", "--shift-margin", 0), "--init writes rules and checks nothing"),
    ):
        done = cli(command, trio[0].folder, *arguments)
        assert (done.code, done.line.startswith(f"error: {words}")) == (2, True), done.line
