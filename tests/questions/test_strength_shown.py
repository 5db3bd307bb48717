"""What figures and report show of families: curves, tolerances, one level of each where there are many."""

import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from matplotlib.collections import PathCollection

from embedshift.figures import FIGURES, FigureInput, draw, save_figures
from embedshift.questions.strength.figures import curves
from embedshift.questions.strength.section import tolerances_of
from embedshift.statistics.strengths import in_words
from support import studies
from support.graded import CLOSER, DARKER, MADE, corruption, graded, register
from support.matrix import first_only
from support.sentences import paragraphs
from support.synthetic import make_study

pytestmark = pytest.mark.slow

# Above 20 views in all.
MANY = (*MADE, *(replace(DARKER, name=name) for name in ("darker_a", "darker_b")))


@pytest.fixture
def families(monkeypatch):
    register(monkeypatch, *MANY)


@pytest.fixture(scope="module")
def small():
    return studies.families()


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """21 views; darker_b moves next to nothing."""
    effect = {f"darker_b@{level}": 0.01 * level for level in range(1, 6)}
    folder = tmp_path_factory.mktemp("shown") / "large"
    return make_study(folder, 12, graded(*MANY), effect=effect, with_pictures=True)


def by_relative_shift(study):
    return study.tolerance().filter(criterion="relative shift 0.1")


def words(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html))


def test_a_panel_per_family_shows_its_relative_shifts_from_level_0(small, families):
    figure = draw(small.reader(), "strength")
    panels = [axes for axes in figure.axes if axes.lines]
    titles = [axes.get_title(loc="left") for axes in panels]
    found = dict(by_relative_shift(small).select("family", "value").iter_rows())
    assert titles == [
        f"darker: {in_words(found['darker'], 'stops')}",
        f"closer: {in_words(found['closer'], CLOSER.unit)}",
        "once",
    ]
    for axes, family in zip(panels, MADE, strict=True):
        table = small.strength().filter(family=family.name, metric="cosine_similarity")
        line = next(line for line in axes.lines if line.get_markersize() == 3)
        np.testing.assert_allclose(line.get_ydata(), [0.0, *table["relative_shift"]])
        ticks = [float(label.get_text()) for label in axes.get_xticklabels()]
        percent = 100 if family is CLOSER else 1
        assert ticks == pytest.approx([percent * each for each in (family.zero, *family.levels)])
    assert sum(len(axes.images) for axes in figure.axes) == 6 + 6 + 2


def test_the_mark_of_the_tolerance_lies_on_the_curve(small, families):
    panel = next(axes for axes in draw(small.reader(), "strength").axes if axes.lines)
    ring = next(line for line in panel.lines if line.get_markersize() == 7)
    relative_shift = curves(FigureInput(small.reader()))["darker"][0]
    assert ring.get_ydata()[0] == pytest.approx(0.1)
    assert np.interp(ring.get_xdata()[0], range(6), relative_shift) == pytest.approx(0.1)


@pytest.mark.matrix
def test_where_images_may_not_be_shown_there_are_curves_alone(small, families, tmp_path):
    reader = replace(studies.copied(small, tmp_path / "study").reader(), pictures=False)
    figure = draw(reader, "strength")
    assert not any(axes.images for axes in figure.axes)
    assert [path.name for path in save_figures(reader, ["strength"], ["png"])] == ["fig16_strength.png"]


@pytest.mark.matrix
def test_where_images_are_gone_there_are_curves_alone(tmp_path):
    study = make_study(tmp_path / "study", 9, graded(DARKER))
    assert not any(axes.images for axes in draw(study.reader(), "strength").axes)


def test_tolerances_stand_from_the_least_to_the_most_tolerant(large):
    axes = draw(large.reader(), "tolerance").axes[0]
    rows = [label.get_text() for label in axes.get_yticklabels()]
    table, families = by_relative_shift(large), {family.name: family for family in large.reader().families}
    values = {row["family"]: row["value"] for row in table.iter_rows(named=True)}
    at = {name: 9.0 if value is None else float(families[name].levels_at(value)) for name, value in values.items()}
    levels = {name.replace("_", " "): level for name, level in at.items()}
    assert rows == sorted(levels, key=levels.__getitem__)
    assert rows[-1] == "darker b"
    assert axes.texts[-1].get_text() == "not reached"
    dots = [part.get_offsets()[0] for part in axes.collections if isinstance(part, PathCollection)]
    assert [x for x, _ in dots[:-1]] == pytest.approx([levels[name] for name in rows[:-1]])


def test_of_many_views_one_level_of_each_family_is_shown(large):
    data, tolerance = FigureInput(large.reader()), by_relative_shift(large)
    expected = []
    for family in MANY:
        row = tolerance.filter(family=family.name).to_dicts()
        value = row[0]["value"] if row else None
        steps = (family.zero, *family.levels)
        level = len(family.levels)
        if value is not None:
            after = next(p for p in range(1, 6) if min(steps[p - 1], steps[p]) <= value <= max(steps[p - 1], steps[p]))
            part = (value - steps[after - 1]) / (steps[after] - steps[after - 1])
            level = max(1, after if part > 0.5 else after - 1)
        expected.append(f"{family.name}@{level}")
    assert data.augmentations == expected
    assert data.augmentations[-1] == "darker_b@5"
    assert data.summary["augmentation"].unique(maintain_order=True).to_list() == expected
    assert sorted(data.ranking["rank"]) == [1, 2, 3, 4, 5]
    assert {*data.table("shifts")["augmentation"]} == {*expected}
    assert "the level nearest the tolerance" in data.caption()
    assert "the level nearest the tolerance" not in data.caption(every=True)
    assert not FIGURES["ruler"].is_available(data)


def test_of_few_views_all_are_shown(small):
    data = FigureInput(small.reader())
    assert data.augmentations == small.augmentations
    assert data.table("summary").equals(small.summary())
    assert "tolerance" not in data.caption()


@pytest.mark.parametrize("figures", first_only([[], None]))
def test_the_report_answers_with_tolerances(figures, large, families):
    html = large.report(figures=figures, formats=["svg"]).read_text()
    answer = words(html[html.index('<section id="answer"') : html.index('<section id="summary"')])
    found = {row["family"]: row for row in by_relative_shift(large).iter_rows(named=True)}
    for name, family in (("darker", DARKER), ("closer", CLOSER)):
        assert f"{name} at {in_words(found[name]['value'], family.unit)}" in answer
    assert "On average it stays below a tenth at every measured strength under darker b." in answer
    assert "Which differences are statistically significant?" not in answer
    assert "Which images have the largest shift?" not in answer  # of the shown levels, which are not the strongest
    assert "below show one level per family: the level nearest the tolerance" in answer
    gallery = html[html.index('<section id="gallery"') :]
    assert gallery.count('class="group"') == len(MANY)
    assert large.folder.joinpath("report.html").stat().st_size < 10_000_000
    measured = words(html[html.index('<section id="measured"') :])
    assert all(f"(stops: {level})" in measured for level in range(1, 6))


@pytest.mark.matrix
def test_the_report_of_few_views_has_both_answers(small, families, tmp_path):
    study = studies.copied(small, tmp_path / "study")
    html = study.report(figures=["strength", "tolerance", "ruler"], formats=["svg"]).read_text()
    answer = words(html[html.index('<section id="answer"') : html.index('<section id="strength"')])
    assert "How strong a change does the embedding tolerate?" in answer
    assert "Which differences are statistically significant?" in answer
    section = html[html.index('<section id="strength"') : html.index('<section id="search"')]
    rows = re.findall(r'<tr><th scope="row"><bdi>(.*?)</bdi>.*?</tr>', section, re.S)
    assert rows == ["darker", "closer", "once"]
    assert section.count("<img") == 2
    glossary = words(html[html.index('<section id="glossary"') :])
    for term in ("family", "tolerance", "hidden", "SSIM", "displacement"):
        assert term in glossary


@pytest.mark.matrix
def test_the_report_of_corruptions_has_their_table_and_mean(tmp_path):
    study = make_study(tmp_path / "study", 10, graded(corruption("fog"), corruption("spatter")))
    html = study.report(figures=["strength"], formats=["svg"]).read_text()
    section = words(html[html.index('<section id="strength"') : html.index('<section id="summary"')])
    mean = study.table("corruption").filter(pl.col("corruption") == "mean")["relative_shift"][0]
    assert f"Mean corruption shift: {mean:.2f}" in section or f"Mean corruption shift: {mean:.3f}" in section
    assert "over 1 of the 15 corruptions of ImageNet-C" in section
    assert "(spatter)" in section


@pytest.mark.matrix
def test_without_a_relative_shift_the_report_says_so(tmp_path):
    study = make_study(tmp_path / "study", 1, graded(DARKER))
    html = study.report(figures=[]).read_text()
    assert "There are no tolerances, because this study has no relative shift" in words(html)
    assert "How strong a change does the embedding tolerate?" not in html


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


def test_a_study_without_families_has_no_section():
    html = (studies.plain().folder / "report.html").read_text()
    assert '<section id="strength"' not in html
