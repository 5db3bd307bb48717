"""The tables `strength`, `tolerance` and `corruption`, against the rows of made studies."""

import itertools
import re

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest, ttest_rel

from embedshift.errors import UsageError
from embedshift.statistics.baselines import cosine_pairs, relative_shifts
from embedshift.statistics.sample import gather
from embedshift.statistics.strengths import missed_fractions
from embedshift.statistics.vectors import normalised
from support import studies
from support.graded import CLOSER, DARKER, MADE, ONCE, STRENGTH_METRICS, corruption, graded
from support.revised import without_vectors
from support.synthetic import make_study

pytestmark = pytest.mark.slow

NOISES = [corruption(name) for name in ("fog", "snow", "spatter")]


@pytest.fixture(scope="module")
def study():
    return studies.families()


@pytest.fixture(scope="module")
def corrupted(tmp_path_factory):
    """25 images, two corruptions of the standard and one that is not of it."""
    effect = {f"snow@{level}": 0.3 * level for level in range(1, 6)}
    return make_study(tmp_path_factory.mktemp("graded") / "corrupted", 25, graded(*NOISES), effect=effect)


def share_of(study, *views):
    """The mean relative shift of some views of all images: mean cosine distance over that of all pairs of originals."""
    rows = study.rows().collect()
    originals = np.stack(rows.filter(view="original")["embedding"].to_list()).astype(np.float64)
    units = originals / np.linalg.norm(originals, axis=1, keepdims=True)
    baseline = (units @ units.T)[~np.eye(len(units), dtype=bool)].mean()
    cosine = rows.filter(pl.col("view").is_in(views))["cosine_similarity"].mean()
    return (1 - cosine) / (1 - baseline)


def test_strength_is_the_summary_by_family_and_level(study):
    table, summary = study.strength(), study.summary()
    assert table.columns[:6] == ["family", "level", "parameter", "unit", "metric", "n"]
    assert table.columns[6:] == [
        "mean",
        "ci_low",
        "ci_high",
        "relative_shift",
        "relative_shift_low",
        "relative_shift_high",
    ]
    assert len(table) == 11 * len(study.metrics)
    assert {*STRENGTH_METRICS} <= {*table["metric"]}
    for family in MADE:
        for view in family.augmentations():
            part = table.filter(family=family.name, level=view.level.number)
            assert part["parameter"].unique().to_list() == [view.level.parameter]
            assert part["unit"].unique().to_list() == [family.unit]
            own = summary.filter(augmentation=view.name).select(part.columns[4:])
            assert part.select(part.columns[4:]).equals(own, null_equal=True)


def test_tolerance_is_where_the_mean_relative_shift_reaches_a_tenth(study):
    assert study.tolerance().columns == ["family", "unit", "criterion", "value", "low", "high", "reached", "falls"]
    assert study.tolerance()["criterion"].to_list() == ["relative shift 0.1"] * 2 + ["missed 5 %"] * 2
    table = study.tolerance().filter(criterion="relative shift 0.1")
    assert table["family"].to_list() == ["darker", "closer"], "a family of one level has no tolerance"
    for family, row in zip((DARKER, CLOSER), table.iter_rows(named=True), strict=True):
        points = [(family.zero, 0.0)] + [(v.level.parameter, share_of(study, v.name)) for v in family.augmentations()]
        above = next(place for place, (_, relative_shift) in enumerate(points) if relative_shift >= 0.1)
        (p, a), (q, b) = points[above - 1 : above + 1]
        assert row["value"] == pytest.approx(p + (0.1 - a) / (b - a) * (q - p))
        assert row["reached"]
        assert row["low"] < row["value"] < row["high"]


def test_the_second_tolerance_is_where_5_percent_of_the_views_are_missed(study):
    table, ranks = study.tolerance().filter(criterion="missed 5 %"), study.search_ranks()
    assert table["family"].to_list() == ["darker", "closer"]
    for family, row in zip((DARKER, CLOSER), table.iter_rows(named=True), strict=True):
        missed = {
            view.level.parameter: ranks.filter(view=view.name)["rank"].to_list() for view in family.augmentations()
        }
        points = [(family.zero, 0.0)] + [(at, np.mean([rank > 1 for rank in found])) for at, found in missed.items()]
        above = next(place for place, (_, relative_shift) in enumerate(points) if relative_shift >= 0.05)
        (p, a), (q, b) = points[above - 1 : above + 1]
        assert row["value"] == pytest.approx(p + (0.05 - a) / (b - a) * (q - p))
        assert row["reached"]


def test_the_interval_of_missed_views_is_clopper_and_pearson_s(study):
    ranks = study.search_ranks().filter(view="darker@5")["rank"]
    found = missed_fractions(study.search_ranks(), 1)["darker@5"]
    low, high = binomtest(int((ranks > 1).sum()), 30).proportion_ci(0.95, "exact")
    assert found.tolist() == pytest.approx([(ranks > 1).mean(), low, high])


def test_without_vectors_there_is_one_tolerance(tmp_path):
    study = make_study(tmp_path / "study", 12, graded(DARKER), with_tables=False)
    without_vectors(study)
    assert study.tolerance()["criterion"].to_list() == ["relative shift 0.1"]


def test_a_family_that_moves_too_little_has_no_tolerance(tmp_path):
    views = graded(DARKER)
    table = make_study(tmp_path / "study", 20, views, effect=dict.fromkeys([v.name for v in views], 0.05)).tolerance()
    assert table.select("value", "low", "high", "reached").row(0) == (None, None, None, False)


def test_a_family_that_falls_by_more_than_the_paired_interval_is_said_to(tmp_path):
    """Weaker levels that move further: by far, and by less than images differ."""
    effect = {f"darker@{level}": shift for level, shift in enumerate((0.2, 0.8, 0.4, 0.9, 0.3), 1)}
    effect |= {f"closer@{level}": shift for level, shift in enumerate((0.2, 0.3, 0.4, 0.5, 0.44), 1)}
    study = make_study(tmp_path / "study", 30, graded(*MADE), effect=effect)
    falls = study.tolerance().select("family", "falls").unique()
    assert dict(falls.iter_rows()) == {"darker": "2 to 3", "closer": None}
    rows = study.rows().collect()
    cosine = [rows.filter(view=f"darker@{level}")["cosine_similarity"].to_numpy() for level in range(1, 6)]
    paired = {(i + 1, j + 1): ttest_rel(cosine[j], cosine[i]) for i, j in itertools.combinations(range(5), 2)}
    falling = [pair for pair, test in paired.items() if test.statistic > 0 and test.pvalue < 0.05 / 20]
    assert falling[0] == (2, 3)
    section = study.report(figures=[]).read_text().partition('id="tolerances"')[2].partition("</table>")[0]
    assert re.findall(r"not monotone: falls from level (.*?)<", section) == ["2 to 3"]


def test_below_eight_images_there_is_a_value_and_no_interval(tmp_path):
    row = make_study(tmp_path / "study", 7, graded(DARKER)).tolerance().row(0, named=True)
    assert row["reached"]
    assert row["value"] > 0
    assert row["low"] is row["high"] is None


def test_corruption_is_the_relative_shift_by_severity_and_their_means(corrupted):
    table = corrupted.table("corruption")
    assert table.columns == ["corruption", "severity", "relative_shift", "relative_shift_low", "relative_shift_high"]
    assert table["corruption"].unique(maintain_order=True).to_list() == ["fog", "snow", "spatter", "mean"]
    found = {(name, severity): relative_shift for name, severity, relative_shift, *_ in table.iter_rows()}
    assert len(found) == len(table) == 3 * 6 + 1
    for family in NOISES:
        views = [view.name for view in family.augmentations()]
        for level, view in enumerate(views, start=1):
            assert found[family.name, level] == pytest.approx(share_of(corrupted, view))
        assert found[family.name, None] == pytest.approx(np.mean([share_of(corrupted, view) for view in views]))
    assert found["mean", None] == pytest.approx((found["fog", None] + found["snow", None]) / 2), "without spatter"


def test_intervals_of_single_severities_are_those_of_the_summary(corrupted):
    table = corrupted.table("corruption").drop_nulls("severity")
    names = pl.format("{}@{}", "corruption", "severity").alias("augmentation")
    own = corrupted.summary().filter(metric="cosine_similarity").select("augmentation", pl.col("^relative_shift.*$"))
    joined = table.with_columns(names).join(own, on="augmentation", suffix="_summary")
    assert len(joined) == 15
    for name in ("relative_shift", "relative_shift_low", "relative_shift_high"):
        np.testing.assert_allclose(joined[name], joined[f"{name}_summary"], rtol=1e-12)


def test_the_interval_of_the_mean_takes_the_images_together(corrupted):
    rows = corrupted.rows().collect()
    views = [view.name for family in NOISES[:2] for view in family.augmentations()]
    values = np.stack([rows.filter(view=view)["cosine_similarity"].to_numpy() for view in views]).mean(axis=0)[:, None]
    units = normalised(np.stack(rows.filter(view="original")["embedding"].to_list()))
    baseline = cosine_pairs(units, np.ones(25), np.ones(25)).baseline()
    wanted = relative_shifts(gather([(values, np.ones_like(values))], chunks=[1] * 25), baseline, 1.0, seed=0)
    low, high = corrupted.table("corruption").row(-1)[3:]
    np.testing.assert_allclose([low, high], [wanted.low.item(), wanted.high.item()], rtol=1e-9)


@pytest.mark.matrix
def test_corruptions_out_of_the_standard_have_no_mean_over_them(tmp_path):
    table = make_study(tmp_path / "study", 9, graded(NOISES[2])).table("corruption")
    assert table["corruption"].unique().to_list() == ["spatter"]


@pytest.mark.matrix
def test_one_image_has_no_relative_shift(tmp_path):
    study = make_study(tmp_path / "study", 1, graded(NOISES[0]))
    assert study.table("corruption").is_empty()
    assert study.tolerance().row(0)[3:] == (None, None, None, False, None)


@pytest.mark.matrix
def test_other_studies_do_not_have_them(tmp_path, study):
    paper = make_study(tmp_path / "study", 9)
    assert not {"strength", "tolerance", "corruption"} & {*paper.table_names}
    with pytest.raises(UsageError, match="no tolerance here: it needs a suite of families"):
        paper.tolerance()
    with pytest.raises(UsageError, match="no corruption here: it needs corruptions"):
        study.table("corruption")
    once = make_study(tmp_path / "once", 9, graded(ONCE))
    assert "strength" in once.table_names
    assert "tolerance" not in once.table_names


def test_families_are_read_from_study_json(study):
    first, *_, last = study.reader().families
    assert (first.name, first.unit, first.zero) == ("darker", "stops", 0.0)
    assert first.views == tuple(f"darker@{level}" for level in range(1, 6))
    assert first.strengths == (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
    assert first.has_strength
    assert not last.has_strength
