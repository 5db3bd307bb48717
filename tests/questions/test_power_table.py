"""The table `power`: against loops over a study's rows."""

import itertools
import json
import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from embedshift.statistics.paired import critical_of_signs, discordance_growth
from embedshift.statistics.power import Discordance, power_of_loss
from embedshift.statistics.power import planned as planned_rows
from support import studies
from support.graded import DARKER, graded
from support.matrix import first_only
from support.overlap import drawn_texts, overlaps
from support.revised import without_vectors
from support.synthetic import make_study

pytestmark = pytest.mark.slow

NAMES = ["noise", "blur", "horizontal_flip"]
EFFECT = {"noise": 1.5, "blur": 0.2, "horizontal_flip": 0.9}
SCHEMA = {**dict.fromkeys(("table", "augmentation", "metric"), pl.String), "effect": pl.Float64, "power": pl.Float64}
SCHEMA |= dict.fromkeys(("n", "n_low", "n_high"), pl.Int64)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("power") / "study", 40, NAMES, effect=EFFECT, dim=16)


def planned(study, **settings):
    return study.table("power", measured=True, **settings)


def of(table, kind, metric, column="n"):
    return dict(table.filter(table=kind, metric=metric).select("augmentation", column).iter_rows())


def test_it_has_a_row_for_each_comparison(study):
    table, pairs = planned(study), [", ".join(pair) for pair in itertools.combinations(NAMES, 2)]
    assert dict(table.schema) == SCHEMA
    for kind, names in (("differences", pairs), ("comparison", [*NAMES, "all"])):
        for metric in ("cosine_similarity" if kind == "differences" else "relative_shift", "recall@1"):
            effect = 0.01 if metric == "recall@1" else 1.1
            assert of(table, kind, metric, "effect") == dict.fromkeys(names, effect)
    assert table["power"].to_list() == [0.8] * 14
    assert table.drop_nulls().filter((pl.col("n_low") > pl.col("n")) | (pl.col("n") > pl.col("n_high"))).is_empty()


@pytest.mark.parametrize("size", first_only([2, 1]), ids=["groups", "images"])
def test_pairs_of_augmentations_are_those_of_a_loop(study, tmp_path, size):
    study = studies.copied(study, tmp_path / "study")
    names, count = sorted(study.reader().image_ids()), 40 // size
    study.regroup({name: f"group {place // size}" for place, name in enumerate(names)} if size > 1 else None)
    rows, ranks = study.rows().collect().sort("image_id"), study.table("search_ranks").sort("image_id")
    logs = np.log([1 - rows.filter(view=name)["cosine_similarity"].to_numpy() for name in NAMES])
    ranked = np.array([ranks.filter(view=name)["rank"].to_numpy() for name in NAMES], float)
    found = (ranked == 1).astype(float)
    table, seed = planned(study), study.info()["config"]["seed"]
    pairs = [*itertools.combinations(range(3), 2)]
    sums = np.stack([(found[a] - found[b]).reshape(count, size).sum(axis=1) for a, b in pairs], axis=1)
    ratios = study.differences().filter(metric="cosine_similarity").iter_rows(named=True)
    ratio_n, recall_n = (of(table, "differences", metric).values() for metric in ("cosine_similarity", "recall@1"))
    for (a, b), row, by_ratio, by_recall in zip(pairs, ratios, ratio_n, recall_n, strict=True):
        values = (logs[a] - logs[b]).reshape(count, size).mean(axis=1)
        level = stats.t.sf(math.log(row["ratio_high"] / row["ratio_low"]) / 2 / stats.sem(values), count - 1)
        away = math.log(1.1) / values.std(ddof=1)
        tests = ((n, stats.nct.sf(stats.t.isf(level, n - 1), n - 1, away * n**0.5)) for n in range(8, 5_000))
        assert by_ratio == pytest.approx(next(n for n, chance in tests if chance >= 0.8), rel=0.005)
        critical, gains = critical_of_signs(sums, seed=seed, is_large=True), found[a] - found[b]
        both, pilot = (np.maximum(sign * gains, 0).mean() for sign in (1, -1)), count
        growth = discordance_growth(ranked[a], ranked[b])
        of_pilot = Discordance.of(*both, pilot=pilot, growth=growth, others=0)
        less, enough = (
            power_of_loss(n, 0.01, of_pilot.with_loss(0.01, n), critical) for n in (by_recall - 1, by_recall)
        )
        assert less < 0.8 <= enough


def test_a_larger_change_needs_fewer_images_and_options_are_kept(study, cli):
    before = planned(study, ratio=1.1, recall_loss=0.01, power=0.8)
    done = cli("power", study.folder, "--ratio", 1.2)
    assert done.code == 0
    after = study.table("power")
    for kind, metric in (("differences", "cosine_similarity"), ("comparison", "relative_shift")):
        pairs = zip(of(after, kind, metric).values(), of(before, kind, metric).values(), strict=True)
        assert all(less < more for less, more in pairs)
        assert f"{max(of(after, kind, metric).values()):,}" in done.out
    is_recall = pl.col("metric") == "recall@1"
    assert after.filter(is_recall).equals(before.filter(is_recall))
    assert planned(study).equals(after), "1.2 is kept"
    surer = json.loads(cli("power", study.folder, "--power", 0.9, "--json").out)
    assert surer["study"] == str(study.folder)
    assert surer["power"] == study.table("power").to_dicts()
    assert {(row["effect"], row["power"]) for row in surer["power"]} == {(1.2, 0.9), (0.01, 0.9)}
    assert all(row["n"] > n for row, n in zip(surer["power"], after["n"], strict=True) if n)


def test_options_that_make_no_sense_are_one_line(study, cli):
    limits = (
        ("--ratio", 1, "1 and below 100"),
        ("--recall-loss", 0, "0 and below 1"),
        ("--power", 1, "0.5 and below 0.999"),
    )
    for option, value, words in limits:
        done = cli("power", study.folder, option, value)
        assert (done.code, done.line) == (2, f"error: {option} {value}: give a number above {words}")


def test_a_tolerance_is_planned_by_its_interval(tmp_path):
    family = make_study(tmp_path / "study", 30, graded(DARKER))
    tolerance = family.tolerance().drop_nulls(("value", "low", "high"))
    assert len(tolerance)
    found = planned(family, ratio=1.25).filter(table="tolerance")
    for row, plan in zip(tolerance.iter_rows(named=True), found.iter_rows(named=True), strict=True):
        width = (row["high"] - row["low"]) / 2 / row["value"]
        assert (plan["augmentation"], plan["metric"]) == (row["family"], row["criterion"])
        assert width * math.sqrt(30 / plan["n"]) <= 0.25 < width * math.sqrt(30 / (plan["n"] - 1))


def test_what_a_study_lacks_is_left_out(tmp_path, cli):
    one = planned(make_study(tmp_path / "one", 12, ["blur"]))
    assert {*one["table"]} == {"comparison"}
    assert {*one["augmentation"]} == {"blur"}
    bare = planned(without_vectors(make_study(tmp_path / "bare", 12, ["noise", "blur"])))
    assert bare.select("table", "augmentation", "metric").rows() == [
        ("differences", "noise, blur", "cosine_similarity")
    ]
    few = make_study(tmp_path / "few", 7, ["noise", "blur"])
    assert dict(planned(few).schema) == SCHEMA
    assert planned(few).is_empty()
    done = cli("power", few.folder, "--json")
    assert (done.code, done.line) == (2, f"error: {few.folder}: has 7 of the 8 images that this needs; measure more")


def test_the_figure_and_the_section_show_it(study, tmp_path):
    shown = studies.copied(study, tmp_path / "study")
    shown.power()
    figure = shown.figure("power")
    assert overlaps(figure) == []
    assert any(f"n = {shown.info()['counts']['measured']} images" in text for text, _ in drawn_texts(figure))
    page = shown.report(figures=["power"], formats=["svg"]).read_text()
    assert page.count('<section id="power"') == 1
    for row in planned_rows(shown.table("power")):
        assert all(cell in page for cell in row), row
