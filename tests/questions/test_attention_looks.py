"""What is said of attention: the table of paired differences by loops, and sentences that follow it."""

import re

import numpy as np
import polars as pl
import pytest

from embedshift.questions.attention import ALIGNED, DIVERGENCE, PLAIN, RISE, ROLLOUT
from embedshift.questions.attention import section as section_module
from embedshift.questions.attention.tables import ALIGNMENT, SPREAD
from embedshift.questions.attention.tables import looks as table_of
from embedshift.report.page import templates
from embedshift.statistics.intervals import simultaneous_intervals
from embedshift.statistics.layout import image_rows
from embedshift.statistics.sample import estimates_from_values
from support import studies
from support.synthetic import make_study

pytestmark = pytest.mark.slow


def sentences_of(content):
    """The sentences of the section from what its functions return."""
    html = templates().get_template("attention/sentences.html.j2").module.results(content)
    return [" ".join(words.split()) for words in re.findall(r'<p class="lead">(.*?)</p>', html, re.DOTALL)]


def look_sentences(table, metrics):
    return sentences_of(section_module.changes(table, metrics) | {"extremes": []})


def extremes(*of):
    return sentences_of(
        {"alignment": None, "spread": None, "is_approximate": False, "extremes": section_module.extremes(*of)}
    )


NAMES = ["flip", "noise", "turn", "own"]


def rows_of(values):
    """Rows of a study: column → values `[images, draws, augmentations]`, in suite order."""
    images, draws, count = values[PLAIN].shape
    found = {name: np.pad(each.reshape(images, -1), ((0, 0), (1, 0)), constant_values=np.nan).ravel()
             for name, each in values.items()}  # fmt: skip
    return pl.DataFrame({"view": ["original", *(NAMES[:count] * draws)] * images, **found}).lazy()


@pytest.fixture(scope="module")
def values():
    """Flip gains by alignment in every image, though plain and aligned overlap; noise is not moved; own is unknown."""
    rng = np.random.default_rng(0)
    plain = rng.uniform(0.6, 0.95, (30, 2, 4))
    aligned = plain + [0.02, 0, 0, np.nan] + rng.normal(size=plain.shape) * [0.005, 0, 0.005, 0]
    aligned[:10, 0, 0] = np.nan
    rise = rng.normal(size=plain.shape) * 0.1 + [0.2, -0.2, 0.0, 0.0]
    return {PLAIN: plain, ALIGNED: aligned, RISE: rise}


def test_the_table_by_loops(values):
    table = table_of(image_rows(rows_of(values)), NAMES, seed=3)
    assert table.select("augmentation", "what", "n").rows() == [
        ("flip", ALIGNMENT, 30), ("turn", ALIGNMENT, 30), ("own", ALIGNMENT, 0),
        *((name, SPREAD, 30) for name in NAMES),
    ]  # fmt: skip
    gain = values[ALIGNED] - values[PLAIN]
    for what, each, chosen in ((ALIGNMENT, gain, [0, 2]), (SPREAD, values[RISE], [0, 1, 2, 3])):
        part = table.filter(pl.col("what") == what, pl.col("n") > 0)
        assert part["difference"].to_numpy() == pytest.approx([np.nanmean(each[..., place]) for place in chosen])
        if what == SPREAD:  # as many values in every image: its value is the mean of its draws
            together = simultaneous_intervals(estimates_from_values(each.mean(axis=1)), seed=3)
            np.testing.assert_allclose(part["low"], together.low)
            np.testing.assert_allclose(part["high"], together.high)
    assert table["significant"].to_list() == [True, False, False, True, True, False, False]
    assert table.row(2)[3:] == (None, None, None, False)


def test_pairing_settles_what_overlapping_intervals_would_not(values):
    plain, aligned = (np.nanmean(values[name][..., 0], axis=1) for name in (PLAIN, ALIGNED))
    error = plain.std(ddof=1) / np.sqrt(30)
    assert abs(np.nanmean(aligned) - plain.mean()) < 2 * 2 * error, "an interval ends two standard errors off its mean"
    assert table_of(image_rows(rows_of(values)), NAMES, seed=0)["significant"][0]


def test_one_metric_alone_and_few_images(values):
    rise = table_of(image_rows(rows_of({name: values[name] for name in (PLAIN, RISE)})), NAMES, seed=0)
    assert set(rise["what"]) == {SPREAD}
    for images in (1, 7):
        few = table_of(image_rows(rows_of({name: each[-images:] for name, each in values.items()})), NAMES, seed=0)
        assert few.filter(pl.col("n") > 0)["n"].to_list() == [images] * 6
        assert few["low"].null_count() == few["high"].null_count() == len(few)
        assert not few["significant"].any()
        assert few["difference"].null_count() == 1
        said = " ".join(look_sentences(few, [ALIGNED, RISE]))
        assert "cannot be tested with fewer than 8 images: flip (" in said
        assert not {"[", "spreads", "motion", "stays"} & {*said.replace("[", " [ ").split()}


@pytest.mark.matrix
def test_it_is_there_only_where_it_was_measured(tmp_path):
    assert "looks" not in studies.plain().table_names
    study = studies.few(12)
    assert len(study.table("looks")) == 4
    page = (study.folder / "report.html").read_text()
    text = " ".join(page.split('id="looks"')[1].split("</section>")[0].split())
    for sentence in look_sentences(study.table("looks"), [ALIGNED, RISE]):
        assert sentence.replace("'", "&#39;") in text
    assert "Intervals of fewer than 20 images are approximate." in text
    assert "with 95 % intervals in brackets" in text
    one = (studies.few(1).folder / "report.html").read_text()
    assert 'id="looks"' in one
    assert "intervals in brackets" not in one
    nothing = make_study(tmp_path / "nothing", 9, ["noise", "blur"], looks=True, grid=None)
    assert nothing.table("looks")["n"].to_list() == [0] * 4
    assert 'id="looks"' not in nothing.report(figures=[], formats=["svg"]).read_text()


def table(*rows):
    columns = ["augmentation", "what", "n", "difference", "low", "high", "significant"]
    return pl.DataFrame(list(rows), schema=columns, orient="row")


def test_the_sentences_follow_the_table():
    found = table(
        ("flip", ALIGNMENT, 30, 0.08, 0.07, 0.09, True),
        ("turn", ALIGNMENT, 30, 0.03, -0.01, 0.07, False),
        ("slant", ALIGNMENT, 30, -0.07, -0.09, -0.05, True),
        ("rare", ALIGNMENT, 7, 0.5, None, None, False),
        ("own", ALIGNMENT, 0, None, None, None, False),
        ("flip", SPREAD, 30, 0.0, -0.1, 0.1, False),
        ("turn", SPREAD, 30, 0.3, 0.2, 0.4, True),
        ("noise", SPREAD, 30, -0.3, -0.4, -0.2, True),
        ("own", SPREAD, 30, 0.0005, 0.0002, 0.0008, True),
    )
    assert look_sentences(found, [PLAIN, ALIGNED, RISE]) == [
        "The movement of the image explains part of the change under flip (0.080 [0.070 to 0.090]).",
        "Attention stays in place rather than following the image under slant (−0.070 [−0.090 to −0.050]).",
        "Alignment makes no significant difference under turn (0.030 [−0.010 to 0.070]).",
        "The mean change by alignment cannot be tested with fewer than 8 images: rare (0.500).",
        "Attention maps cannot be aligned under own.",
        "Attention spreads out under turn (0.30 [0.20 to 0.40] nats) and own (0.00050 [0.00020 to 0.00080] nats) and "
        "concentrates under noise (−0.30 [−0.40 to −0.20] nats).",
        "Its entropy does not change significantly under flip (0.00 [−0.10 to 0.10] nats).",
    ]
    assert look_sentences(found, [DIVERGENCE]) == []
    for images, said in ((8, True), (19, True), (20, False)):
        few = table(("flip", SPREAD, images, 0.1, 0.05, 0.15, True))
        assert ("Intervals of fewer than 20 images are approximate." in look_sentences(few, [RISE])) == said
    changes_nothing = ["Alignment changes nothing: no alignable augmentation moves pixels."]
    assert look_sentences(None, [PLAIN, ALIGNED]) == changes_nothing


def summary(metric, means, n=9):
    columns = {"augmentation": list(means), "metric": metric, "images": n, "mean": list(means.values())}
    return pl.DataFrame(columns, schema_overrides={"mean": pl.Float64})


def test_the_ends_are_those_that_the_pairs_leave():
    found = summary(DIVERGENCE, {"flip": 0.1, "turn": 0.4, "slant": 0.39, "own": None})
    words = "The mean divergence of the maps is"
    between = f"{words} between 0.400 bits (turn) and 0.100 bits (flip)"
    assert extremes(found, [DIVERGENCE]) == [f"{between}."], "no pairs above 20 augmentations"
    rows = [("flip", "turn", -0.3, True), ("turn", "slant", 0.01, False), ("slant", "flip", 0.29, True)]
    schema = ["augmentation", "other", "difference", "significant"]
    pairs = pl.DataFrame(rows, schema, orient="row").with_columns(metric=pl.lit(DIVERGENCE))
    tied = "turn (0.400 bits) and slant (0.390 bits), without a significant difference between these 2"
    least = f"{words} smallest under flip (0.100 bits)."
    assert extremes(found, [DIVERGENCE], pairs) == [f"{words} largest under {tied}.", least]
    told_apart = extremes(found, [DIVERGENCE], pairs.with_columns(significant=True))
    assert told_apart == [f"{words} largest under turn (0.400 bits).", least]
    open_pairs = pairs.with_columns(significant=False)
    none = f"{between}, without a significant difference between augmentations."
    assert extremes(found, [DIVERGENCE], open_pairs) == [none]
    rolled = summary(ROLLOUT, {"flip": 0.7, "turn": 0.9})
    lower = pl.DataFrame([("flip", "turn", -0.2, True)], schema, orient="row").with_columns(metric=pl.lit(ROLLOUT))
    assert extremes(rolled, [DIVERGENCE, ROLLOUT], lower) == [
        "The mean similarity of the rollout maps is lowest under flip (0.700).",
        "The mean similarity of the rollout maps is highest under turn (0.900).",
    ]


def test_nothing_is_ranked_where_there_is_no_order():
    two = {"flip": 0.1, "turn": 0.1}
    assert extremes(summary(DIVERGENCE, two), [DIVERGENCE]) == [
        "The mean divergence of the maps is equal under all augmentations (0.100 bits)."
    ]
    assert extremes(summary(DIVERGENCE, two, n=7), [DIVERGENCE]) == []
    assert extremes(summary(DIVERGENCE, {"flip": 0.1}), [DIVERGENCE]) == []
