"""Optional metrics of attention: from the stored maps to the table of paired differences, sentences, claims, figure."""

import re

import numpy as np
import polars as pl
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

import embedshift
from embedshift import EmbedshiftError
from embedshift.questions.attention import ALIGNED, DIVERGENCE, PLAIN, RISE, ROLLOUT
from embedshift.questions.attention import section as section_module
from embedshift.questions.attention.tables import ALIGNMENT, SPREAD
from embedshift.questions.attention.tables import looks as table_of
from embedshift.questions.claims.tables import claims
from embedshift.registry import METRICS, asked_metrics
from embedshift.report.page import templates
from embedshift.statistics.intervals import simultaneous_intervals
from embedshift.statistics.layout import image_rows
from embedshift.statistics.sample import estimates_from_values
from embedshift.statistics.summary import PAPER_METRICS
from support import models, studies

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
    two = {"flip": 0.1, "turn": 0.1}
    equal = ["The mean divergence of the maps is equal under all augmentations (0.100 bits)."]
    assert extremes(summary(DIVERGENCE, two), [DIVERGENCE]) == equal
    assert extremes(summary(DIVERGENCE, two, n=7), [DIVERGENCE]) == []
    assert extremes(summary(DIVERGENCE, {"flip": 0.1}), [DIVERGENCE]) == []


OPTIONS = ["attention", "aligned", "rollout"]
OPTIONAL = (RISE, DIVERGENCE, ALIGNED, ROLLOUT)


@pytest.fixture(scope="module")
def study():
    few = ["noise", "blur", "shift_scale_rotate", "perspective"]
    return studies.measured(studies.pictures(8), studies.checkpoint("clip"), families=few, metrics=OPTIONS)


def test_what_metrics_need_stands_for_all_optional_ones_that_need_it():
    assert asked_metrics(()) == PAPER_METRICS
    assert asked_metrics(tuple(OPTIONS)) == (*PAPER_METRICS, *OPTIONAL)
    assert asked_metrics((ROLLOUT, "attention", "rollout", RISE)) == (*PAPER_METRICS, ROLLOUT, RISE, DIVERGENCE)
    assert asked_metrics(("pixels", "l2_distance")) == (*PAPER_METRICS, "patch_similarity_uint8")
    with pytest.raises(EmbedshiftError, match="unknown metric 'attention_divergance'; did you mean 'attention_diverg"):
        asked_metrics(("attention_divergance",))


def test_entropy_and_divergence_of_the_stored_maps_by_scipy(study):
    rows = study.rows().collect()
    maps = {key: group["attention"][0].to_numpy() for key, group in rows.group_by("image_id", "view")}
    for row in rows.filter(pl.col("view") != "original").iter_rows(named=True):
        before, after = (maps[row["image_id"], view].astype(np.float64) for view in ("original", row["view"]))
        assert row[RISE] == pytest.approx(entropy(after) - entropy(before), abs=1e-12)
        assert row[DIVERGENCE] == pytest.approx(jensenshannon(before, after, base=2) ** 2, abs=1e-12)
    assert (rows[RISE].drop_nulls().abs() > 1e-3).any()


def test_claims_on_the_spread_are_the_same_from_the_column_and_from_the_maps(study):
    names = study.augmentations

    def spread(rows):
        table = claims(image_rows(rows), names, seed=0, resamples=200)
        return table.filter(pl.col("claim").str.starts_with("10")).drop("statement", "verdict")

    told = spread(study.rows())
    assert told["claim"].to_list() == ["10a", "10b", "10c"]
    assert told.null_count().sum_horizontal().item() == 0
    assert told.equals(spread(study.rows().drop(RISE)))
    # Without a map, and from the column alone.
    turned = spread(study.rows().with_columns(-pl.col(RISE), attention=pl.lit(None)))
    np.testing.assert_allclose(turned["estimate"], -told["estimate"], rtol=1e-12)


@pytest.mark.matrix
def test_an_encoder_without_attention_has_nulls(tmp_path):
    photos = studies.pictures(8)
    options = ["attention", "aligned"]
    study = embedshift.run(photos, out=tmp_path / "s", model=models.Colours(), metrics=options, workers=0, limit=2)
    rows = study.rows().collect()
    assert [rows[name].null_count() for name in (RISE, DIVERGENCE, ALIGNED)] == [len(rows)] * 3
    assert study.summary().filter(metric=ALIGNED)["n"].to_list() == [0] * 9


def test_the_figure_shows_the_summary():
    study = studies.every()
    figure = study.figure("attention_change")
    panels = figure.axes
    assert len(panels) == 5
    summary, names = study.summary(), study.ranking().sort("rank")["augmentation"].to_list()
    for axes, metric in zip(panels, (PLAIN, ALIGNED, ROLLOUT, DIVERGENCE, RISE), strict=True):
        assert METRICS[metric].label in axes.get_xlabel().replace("\n", " ")
        rows = {row["augmentation"]: row for row in summary.filter(metric=metric).iter_rows(named=True)}
        dots, intervals = axes.collections[-1].get_offsets(), axes.collections[0].get_segments()
        for index, name in enumerate(names):
            np.testing.assert_allclose(dots[index], [rows[name]["mean"], index])
            np.testing.assert_allclose(np.array(intervals[index])[:, 0], [rows[name]["ci_low"], rows[name]["ci_high"]])
    assert [label.get_text().replace(" ", "_") for label in panels[0].get_yticklabels()] == names
