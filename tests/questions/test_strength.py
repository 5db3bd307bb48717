"""Families of strength: tables against the rows of made studies, and what figures and report show of them."""

import itertools
import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from matplotlib.collections import PathCollection
from scipy.stats import ttest_rel

from embedshift.figures import FIGURES, FigureInput, draw
from embedshift.questions.strength.section import tolerances_of
from embedshift.statistics.baselines import cosine_pairs, relative_shifts
from embedshift.statistics.sample import gather
from embedshift.statistics.strengths import in_words
from embedshift.statistics.vectors import normalised
from support import studies
from support.graded import CLOSER, DARKER, MADE, STRENGTH_METRICS, corruption, graded, register
from support.sentences import paragraphs
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
    assert len(table) == 11 * len(study.metrics)
    assert {*STRENGTH_METRICS} <= {*table["metric"]}
    for family in MADE:
        for view in family.augmentations():
            part = table.filter(family=family.name, level=view.level.number)
            assert part["parameter"].unique().to_list() == [view.level.parameter]
            assert part["unit"].unique().to_list() == [family.unit]
            own = summary.filter(augmentation=view.name).select(part.columns[4:])
            assert part.select(part.columns[4:]).equals(own, null_equal=True)


def missed(study, view):
    """The fraction of a view's searches that do not find the original first."""
    return np.mean([rank > 1 for rank in study.search_ranks().filter(view=view)["rank"]])


@pytest.mark.parametrize(
    ("criterion", "number", "level"), [("relative shift 0.1", share_of, 0.1), ("missed 5 %", missed, 0.05)]
)
def test_a_tolerance_is_where_the_mean_reaches_its_level(criterion, number, level, study):
    table = study.tolerance().filter(criterion=criterion)
    assert table["family"].to_list() == ["darker", "closer"], "a family of one level has no tolerance"
    for family, row in zip((DARKER, CLOSER), table.iter_rows(named=True), strict=True):
        views = family.augmentations()
        points = [(family.zero, 0.0)] + [(view.level.parameter, number(study, view.name)) for view in views]
        above = next(place for place, (_, value) in enumerate(points) if value >= level)
        (p, a), (q, b) = points[above - 1 : above + 1]
        assert row["value"] == pytest.approx(p + (level - a) / (b - a) * (q - p))
        assert row["reached"]
        assert row["low"] < row["value"] < row["high"] or criterion == "missed 5 %"


def test_a_family_that_moves_too_little_has_no_tolerance_and_few_images_no_interval(tmp_path):
    views = graded(DARKER)
    table = make_study(tmp_path / "study", 20, views, effect=dict.fromkeys([v.name for v in views], 0.05)).tolerance()
    assert table.select("value", "low", "high", "reached").row(0) == (None, None, None, False)
    few = make_study(tmp_path / "few", 7, views).tolerance().row(0, named=True)
    assert few["value"] > 0, "below eight images there is a value, and no interval"
    assert few["low"] is few["high"] is None


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


def test_corruption_is_the_relative_shift_by_severity_and_their_means(corrupted):
    table = corrupted.table("corruption")
    assert table["corruption"].unique(maintain_order=True).to_list() == ["fog", "snow", "spatter", "mean"]
    found = {(name, severity): relative_shift for name, severity, relative_shift, *_ in table.iter_rows()}
    assert len(found) == len(table) == 3 * 6 + 1
    for family in NOISES:
        views = [view.name for view in family.augmentations()]
        for level, view in enumerate(views, start=1):
            assert found[family.name, level] == pytest.approx(share_of(corrupted, view))
        assert found[family.name, None] == pytest.approx(np.mean([share_of(corrupted, view) for view in views]))
    assert found["mean", None] == pytest.approx((found["fog", None] + found["snow", None]) / 2), "without spatter"


def test_the_interval_of_the_mean_takes_the_images_together(corrupted):
    rows = corrupted.rows().collect()
    views = [view.name for family in NOISES[:2] for view in family.augmentations()]
    values = np.stack([rows.filter(view=view)["cosine_similarity"].to_numpy() for view in views]).mean(axis=0)[:, None]
    units = normalised(np.stack(rows.filter(view="original")["embedding"].to_list()))
    baseline = cosine_pairs(units, np.ones(25), np.ones(25)).baseline()
    wanted = relative_shifts(gather([(values, np.ones_like(values))], chunks=[1] * 25), baseline, 1.0, seed=0)
    low, high = corrupted.table("corruption").row(-1)[3:]
    np.testing.assert_allclose([low, high], [wanted.low.item(), wanted.high.item()], rtol=1e-9)


# Above 20 views in all.
MANY = (*MADE, *(replace(DARKER, name=name) for name in ("darker_a", "darker_b")))


@pytest.fixture
def families(monkeypatch):
    register(monkeypatch, *MANY)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """21 views; darker_b moves next to nothing."""
    effect = {f"darker_b@{level}": 0.01 * level for level in range(1, 6)}
    folder = tmp_path_factory.mktemp("shown") / "large"
    return make_study(folder, 12, graded(*MANY), effect=effect, with_pictures=True)


def by_relative_shift(study):
    return study.tolerance().filter(criterion="relative shift 0.1")


def values_by_family(study):
    return dict(by_relative_shift(study).select("family", "value").iter_rows())


def level_of(family, value, default):
    """The level at which a family has a strength, by a line between levels."""
    steps = np.array([family.zero, *family.levels])
    sign = np.sign(steps[-1] - steps[0])
    return default if value is None else float(np.interp(sign * value, sign * steps, np.arange(len(steps))))


def words(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html))


def test_a_panel_per_family_shows_its_relative_shifts_from_level_0(study, families):
    figure = draw(study.reader(), "strength")
    panels = [axes for axes in figure.axes if axes.lines]
    titles = [axes.get_title(loc="left") for axes in panels]
    found = values_by_family(study)
    assert titles == [
        f"darker: {in_words(found['darker'], 'stops')}",
        f"closer: {in_words(found['closer'], CLOSER.unit)}",
        "once",
    ]
    for axes, family in zip(panels, MADE, strict=True):
        table = study.strength().filter(family=family.name, metric="cosine_similarity")
        line = next(line for line in axes.lines if line.get_markersize() == 3)
        np.testing.assert_allclose(line.get_ydata(), [0.0, *table["relative_shift"]])
        ticks = [float(label.get_text()) for label in axes.get_xticklabels()]
        percent = 100 if family is CLOSER else 1
        assert ticks == pytest.approx([percent * each for each in (family.zero, *family.levels)])
    assert sum(len(axes.images) for axes in figure.axes) == 6 + 6 + 2


def test_tolerances_stand_from_the_least_to_the_most_tolerant(large):
    axes = draw(large.reader(), "tolerance").axes[0]
    rows = [label.get_text() for label in axes.get_yticklabels()]
    values, families = values_by_family(large), {family.name: family for family in MANY}
    levels = {name.replace("_", " "): level_of(families[name], value, 9.0) for name, value in values.items()}
    assert rows == sorted(levels, key=levels.__getitem__)
    assert rows[-1] == "darker b"
    assert axes.texts[-1].get_text() == "not reached"
    dots = [part.get_offsets()[0] for part in axes.collections if isinstance(part, PathCollection)]
    assert [x for x, _ in dots[:-1]] == pytest.approx([levels[name] for name in rows[:-1]])


def test_of_many_views_one_level_of_each_family_is_shown(large):
    data, values = FigureInput(large.reader()), values_by_family(large)
    levels = {family.name: level_of(family, values.get(family.name), len(family.levels)) for family in MANY}
    expected = [f"{name}@{max(1, round(level))}" for name, level in levels.items()]
    assert data.augmentations == expected
    assert data.augmentations[-1] == "darker_b@5"
    assert data.summary["augmentation"].unique(maintain_order=True).to_list() == expected
    assert sorted(data.ranking["rank"]) == [1, 2, 3, 4, 5]
    assert {*data.table("shifts")["augmentation"]} == {*expected}
    assert "the level nearest the tolerance" in data.caption()
    assert "the level nearest the tolerance" not in data.caption(every=True)
    assert not FIGURES["ruler"].is_available(data)


def test_the_report_answers_with_tolerances(large, families):
    html = large.report(figures=[], formats=["svg"]).read_text()
    answer = words(html[html.index('<section id="answer"') : html.index('<section id="summary"')])
    for family in (DARKER, CLOSER):
        assert f"{family.name} at {in_words(values_by_family(large)[family.name], family.unit)}" in answer
    assert "On average it stays below a tenth at every measured strength under darker b." in answer
    assert "Which differences are statistically significant?" not in answer
    assert "Which images have the largest shift?" not in answer  # of the shown levels, which are not the strongest
    assert "below show one level per family: the level nearest the tolerance" in answer
    gallery = html[html.index('<section id="gallery"') :]
    assert gallery.count('class="group"') == len(MANY)
    measured = words(html[html.index('<section id="measured"') :])
    assert all(f"(stops: {level})" in measured for level in range(1, 6))


@pytest.mark.parametrize("reached", [True, False])
def test_a_tenth_that_only_the_interval_reaches_is_not_excluded(reached):
    rows = [("blur", 3.0, 2.0, 4.0, True)] if reached else []
    rows += [("crop", None, None, None, False), ("hue", None, 35.0, None, False), ("jpeg", None, None, 9.0, False)]
    schema = {"family": pl.String, **dict.fromkeys(("value", "low", "high"), pl.Float64), "reached": pl.Boolean}
    table = pl.DataFrame(rows, schema, orient="row").with_columns(
        unit=pl.lit("degrees"), criterion=pl.lit("relative shift 0.1")
    )
    missed = pl.DataFrame([("crop", 30.0, 20.0, 40.0, True)], schema, orient="row").with_columns(
        unit=pl.lit("degrees"), criterion=pl.lit("missed 5 %")
    )
    content = {"tolerances": tolerances_of(pl.concat([table, missed])), "encoder": "CLIP", "baseline": 0.6, "images": 9}
    said, misses = paragraphs("strength/answer.html.j2", content)[int(reached) :][:2]
    stop = "To be safe, stop at the end of the interval with the weaker change."
    assert misses == f"A search among the originals misses 5 % of the views under crop at 30 degrees [20 to 40]. {stop}"
    assert said.endswith("; for hue and jpeg, the images are too few to be sure.")
    assert ("under crop, hue and jpeg;" in said) == reached
    assert "on average" in said.lower()


@pytest.mark.matrix
def test_the_report_of_corruptions_has_their_table_and_mean(corrupted):
    html = corrupted.report(figures=["strength"], formats=["svg"]).read_text()
    section = words(html[html.index('<section id="strength"') : html.index('<section id="summary"')])
    mean = corrupted.table("corruption")["relative_shift"][-1]
    assert f"Mean corruption shift: {mean:.2f}" in section or f"Mean corruption shift: {mean:.3f}" in section
    assert "over 2 of the 15 corruptions of ImageNet-C" in section
    assert "(spatter)" in section


def test_without_a_relative_shift_the_report_says_so(tmp_path):
    study = make_study(tmp_path / "study", 1, graded(DARKER))
    html = study.report(figures=[]).read_text()
    assert "There are no tolerances, because this study has no relative shift" in words(html)
    assert "How strong a change does the embedding tolerate?" not in html
