"""Claims: verdicts where the answer is known, both ways, undecided and not testable; other studies than the paper's."""

from collections import Counter

import numpy as np
import polars as pl
import pytest
from scipy.spatial.distance import squareform

from embedshift.questions.claims.kinds import SCHEMA
from embedshift.questions.claims.section import claim_rows
from embedshift.questions.claims.tables import claims, paper_claims
from embedshift.report.page import fill
from embedshift.statistics.layout import image_rows
from support.claims_world import COLOR, COSINE, LATER, LEAST, METRICS, NAMES, table_of, world
from support.matrix import first_only
from support.synthetic import make_study

NUMBERS = ("estimate", "ci_low", "ci_high", "p_value", "p_adjusted")


def verdicts(rows, names=tuple(NAMES), resamples=4_999):
    return dict(table_of(rows, names, resamples).select("claim", "verdict").iter_rows())


def means(**metrics):
    return {"means": metrics}


def wide(metric, sd, **values):
    """Means with a spread that drowns them."""
    return {"means": {metric: values}, "sds": {metric: dict.fromkeys(values, sd)}}


REVERSED = {name: 1 - value for name, value in COSINE.items()}
ELASTIC_BEHIND = COSINE | {"elastic": 0.1}
SPREAD_OUT = dict.fromkeys(COLOR, 0.05) | dict.fromkeys(LEAST, 0.4)
NOISE_AMONG = {("noise", name): 0.2 for name in NAMES if name != "noise"}
BORDER = dict.fromkeys(NOISE_AMONG, 0.5)
MIXED = dict(zip(NAMES, (0.5, 0.9, 0.6, 0.3, 0.8, 0.7, 0.4, 0.55, 0.65), strict=True))

# Worlds in which parts do not hold; the parts of one world are of different numbers.
DENIED = {
    ("1a", "1b", "2a", "8a", "10a"): {
        **means(l2_distance={"blur": 12.0}, cosine_similarity={"blur": 0.4}, attention_similarity={"blur": 0.7}),
        "distances": NOISE_AMONG,
        "temperature": {"blur": 0.5},
    },
    ("4a", "4b", "3a", "8b", "10b"): {
        "means": {
            "l2_distance": {"horizontal_flip": 8.0},
            "cosine_similarity": {"horizontal_flip": 0.6},
            "attention_similarity": {"color_jitter": 0.82},
        },
        "distances": {("shift_scale_rotate", "elastic"): 0.05},
        "temperature": {"shift_scale_rotate": 0.5},
    },
    ("5a", "5b", "3b", "10c"): {
        **means(l2_distance={"perspective": 2.0}, cosine_similarity={"perspective": 0.9}),
        "distances": {("blur", "color_jitter"): 0.05},
        "temperature": {"perspective": 0.5},
    },
    ("5c", "5d", "6a", "6b"): {
        **means(l2_distance={"shift_scale_rotate": 2.0}, cosine_similarity={"shift_scale_rotate": 0.9}),
        "sds": {"l2_distance": SPREAD_OUT, "cosine_similarity": {n: v / 20 for n, v in SPREAD_OUT.items()}},
    },
    ("6c", "6d"): means(
        l2_distance={"blur": 0.5, "coarse_dropout": 0.6, "color_jitter": 0.7},
        cosine_similarity={"blur": 0.99, "coarse_dropout": 0.98, "color_jitter": 0.97},
    ),
    ("5e", "5f", "7a", "7b"): means(detail_preservation=REVERSED, edge_preservation=REVERSED),
    ("7c", "12a"): means(detail_preservation=ELASTIC_BEHIND, patch_similarity={"horizontal_flip": 0.1}),
    ("9a", "9b", "12b"): means(
        l2_distance={"elastic": 5.1},
        cosine_similarity={"perspective": 0.45},
        aligned_detail_preservation={"horizontal_flip": 0.0},
    ),
    ("11a",): means(cosine_similarity=dict.fromkeys([*COLOR, "perspective", *LEAST], 0.99)),
    ("11b",): means(cosine_similarity={"blur": 0.9, "coarse_dropout": 0.9}),
}
# Worlds in which the images cannot tell, one of each kind of test.
UNDECIDED = {
    "1a": wide("l2_distance", 1.0, noise=10.0, blur=10.0),
    "2a": {"distances": BORDER, "distance_sd": dict.fromkeys(BORDER, 0.1)},
    "3b": {"distances": {("blur", "color_jitter"): 0.165}, "distance_sd": {("blur", "color_jitter"): 0.1}},
    "6b": {"sds": {"cosine_similarity": dict.fromkeys(NAMES, 0.01)}},
    "7a": means(detail_preservation=MIXED),
    "7c": means(
        detail_preservation=ELASTIC_BEHIND | {"horizontal_flip": 0.1}, cosine_similarity={"horizontal_flip": 0.96}
    ),
    "11b": means(cosine_similarity={"blur": 0.775, "color_jitter": 0.9}),
    "12a": means(patch_similarity={"horizontal_flip": 0.4}),
}


def test_every_claim_of_the_paper_has_parts_that_name_augmentations():
    statements = {claim.name: claim.statement for claim in paper_claims()}
    assert {int(part[:-1]) for part in statements} == set(range(1, 13))
    assert sorted(statements) == sorted(part for group in DENIED for part in group)
    assert all(any(name in statement for name in [*NAMES, "all nine"]) for statement in statements.values())
    assert len({*statements.values()}) == len(statements) == len([*paper_claims()])


@pytest.fixture(scope="module")
def paper_world():
    return world()


@pytest.mark.slow
def test_the_world_of_the_paper_is_confirmed_in_all_parts_but_the_second_reading_of_claim_5(paper_world):
    table = table_of(paper_world)
    found = dict(table.select("claim", "verdict").iter_rows())
    assert found == dict.fromkeys(found, "holds") | dict.fromkeys(("5e", "5f"), "does not hold")
    estimate = dict(table.select("claim", "estimate").iter_rows())
    known = {
        "1a": 10 - 7, "1b": 0.65 - 0.5, "2a": 1, "3a": 1, "3b": 1, "4a": 4.8 - 1.2, "4b": 0.94 - 0.76,
        "5a": 7 - 5.2, "5b": 0.74 - 0.65, "5c": 6.5 - 5.2, "5d": 0.74 - 0.675, "5e": 4.8 - 7, "5f": 0.65 - 0.76,
        "6a": 0.2, "6b": 0.01, "6c": 5 - 1, "6d": 0.95 - 0.75, "7a": 1, "7b": 1, "7c": 1,
        "8a": 0.85 - 0.8, "8b": 0.95 - 0.87, "9a": 10 - 7, "9b": 0.65 - 0.5,
        "11a": 8, "11b": 6, "12a": 3, "12b": 3,
    }  # fmt: skip
    assert {part: estimate[part] for part in known} == pytest.approx(known, abs=1e-9)


@pytest.mark.slow
def test_section_4_is_confirmed_where_perspective_is_minimal():
    found = verdicts(world(**means(l2_distance={"perspective": 2.0}, cosine_similarity={"perspective": 0.9})))
    assert found["5e"] == found["5f"] == "holds"


@pytest.mark.slow
@pytest.mark.parametrize("parts", DENIED, ids="-".join)
def test_the_opposite_does_not_hold(parts):
    found = verdicts(world(**DENIED[parts]))
    assert {part: found[part] for part in parts} == dict.fromkeys(parts, "does not hold")


@pytest.mark.slow
@pytest.mark.parametrize("part", first_only(UNDECIDED))
def test_what_the_images_cannot_tell_is_undecided(part):
    assert verdicts(world(**UNDECIDED[part]))[part] == "undecided"


@pytest.mark.slow
def test_ranks_are_not_testable_where_a_metric_settles_no_pair():
    found = verdicts(world(**wide("detail_preservation", 0.2, **dict.fromkeys(NAMES, 0.5))))
    assert {part for part, verdict in found.items() if verdict == "not testable"} == {"7a", "7c"}


def test_parts_without_their_augmentations_are_not_testable(paper_world):
    rows = without(paper_world, "elastic")
    names = [name for name in NAMES if name != "elastic"]
    found = verdicts(rows, names)
    untestable = {part for part, verdict in found.items() if verdict == "not testable"}
    # 5e, 5f: perspective less than all but the three least, of which elastic is one.
    assert untestable == set(found) - {"5e", "5f", "10a", "10b", "10c"}
    table = table_of(rows, names, resamples=50).filter(pl.col("verdict") == "not testable")
    assert table.select(pl.col("estimate", "ci_low", "ci_high").is_null().all()).row(0) == (True, True, True)
    assert verdicts(without(paper_world, "noise"), [*names[1:], "elastic"])["6a"] == "holds"


@pytest.mark.slow
def test_studies_with_hardly_anything_of_the_paper_do_not_fail(tmp_path):
    study = make_study(tmp_path / "study", 8, ["noise", "sepia"])
    assert set(study.claims()["verdict"]) == {"not testable"}


@pytest.mark.slow
def test_augmentations_of_the_user_and_the_order_of_the_suite_change_nothing(tmp_path):
    mixed = [NAMES[place] for place in (3, 0, 8, 1, 7, 2, 6, 4, 5)]
    mixed[0:0], mixed[4:4] = ["fog"], ["sepia"]
    study = make_study(tmp_path / "study", 10, mixed, draws=2, with_tables=False)
    rows = study.rows().collect()
    kept, upper = [mixed.index(name) for name in NAMES], np.triu_indices(len(NAMES), k=1)
    lists = [
        None
        if row is None
        else [d for draw in np.reshape(row, (2, -1)) for d in squareform(draw)[np.ix_(kept, kept)][upper]]
        for row in rows["pairwise"]
    ]
    bare = rows.with_columns(pl.Series("pairwise", lists, pl.List(pl.Float32)))
    bare = bare.filter(pl.col("view").is_in(["original", *NAMES])).lazy()
    full = claims(image_rows(study.rows()), mixed, seed=0, resamples=100)
    only = claims(image_rows(bare), NAMES, seed=0, resamples=100)
    assert full.select("claim", "verdict").equals(only.select("claim", "verdict"))
    for column in ("estimate", "ci_low", "ci_high"):
        one, other = (table[column].fill_null(np.nan).to_numpy() for table in (full, only))
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("images", "trees"), [(8, "undecided"), (20, "holds")])
def test_eight_images_decide_on_means_and_twenty_on_trees(images, trees):
    found = verdicts(world(images), resamples=9_999)
    assert found["1a"] == found["9b"] == "holds"
    assert found["2a"] == found["3a"] == trees


def test_images_that_have_no_value_do_not_count():
    rows = world(40).with_columns(
        pl.when(pl.col("image_id") > "006.jpg").then(None).otherwise(pl.col(m)).alias(m) for m in METRICS[2:]
    )
    table = table_of(rows, resamples=1_999)
    few = table.filter(pl.col("claim").is_in(["7a", "7b", "7c", "8a", "8b", "12a", "12b"]))
    assert set(few["verdict"]) == {"undecided"}
    assert few["p_value"].null_count() == few["ci_low"].null_count() == 7
    assert dict(table.select("claim", "verdict").iter_rows())["1a"] == "holds"


@pytest.mark.parametrize("rounding", [0.0, 1e-16, -1e-15])
def test_a_study_in_which_nothing_moves_is_not_testable(rounding):
    same = {metric: {name: 0.5 + (name == "noise") * rounding for name in NAMES} for metric in (*METRICS, *LATER)}
    still = {metric: dict.fromkeys(NAMES, 0.0) for metric in same}
    pairs = {(a, b): 0.0 for i, a in enumerate(NAMES) for b in NAMES[i + 1 :]}
    rows = world(30, 1, same, still, pairs, pairs).with_columns(attention_entropy_rise=pl.lit(0.0))
    table = claims(image_rows(rows), NAMES, seed=0, resamples=50)
    assert set(table["verdict"]) == {"not testable"}
    assert all(table[column].null_count() == len(table) for column in NUMBERS)


def test_the_same_offset_in_every_image_is_no_tie():
    """No image differs from another: there is nothing that chance could have done."""
    rows = world(10, sds={"l2_distance": dict.fromkeys(NAMES, 0.0)})
    row = claims(image_rows(rows), NAMES, seed=0, resamples=9_999).row(0, named=True)
    assert (row["verdict"], row["p_value"]) == ("holds", 1e-4)
    assert row["ci_low"] == row["ci_high"] == pytest.approx(3)


def without(rows: pl.LazyFrame, name: str) -> pl.LazyFrame:
    """The records as a study without `name` has them."""
    kept = [
        index
        for index, pair in enumerate((a, b) for i, a in enumerate(NAMES) for b in NAMES[i + 1 :])
        if name not in pair
    ]
    frame = rows.filter(pl.col("view") != name).collect()
    lists = [None if row is None else [row[i] for i in kept] for row in frame["pairwise"]]
    return frame.with_columns(pl.Series("pairwise", lists, pl.List(pl.Float32))).lazy()


def row(estimate, low, high, verdict, claim="1a"):
    given = {"claim": claim, "estimate": estimate, "ci_low": low, "ci_high": high, "verdict": verdict}
    (found,) = claim_rows(pl.DataFrame([given], schema=SCHEMA))
    return found


@pytest.mark.parametrize(
    ("numbers", "verdict", "texts"),
    [
        # Fractions are cut and not rounded.
        ((0.9496, None, None), "undecided", ("0.949", "–")),
        ((0.95, None, None), "holds", ("0.950", "–")),
        ((0.99996, None, None), "undecided", ("0.999", "–")),
        ((1.0, None, None), "holds", ("1.000", "–")),
        ((-0.9999, None, None), "does not hold", ("−0.999", "–")),
        ((None, None, None), "not testable", ("–", "–")),
        # No end of an interval reads as 0 that is not.
        ((0.00004, 0.00001, 0.00008), "undecided", ("0.000040", "0.000010 to 0.000080")),
        ((0.4, 0.004, 0.9), "undecided", ("0.400", "0.004 to 0.900")),
        ((-3.0, -3.5, -2.5), "undecided", ("−3.00", "−3.50 to −2.50")),
        ((0.0, -0.02, 0.03), "undecided", ("0.000", "−0.020 to 0.030")),
    ],
)
def test_no_number_contradicts_its_verdict(numbers, verdict, texts):
    found = row(*numbers, verdict)
    assert (found["estimate"], found["interval"]) == texts


def test_numbers_of_augmentations_and_ranks_are_whole():
    assert [row(*each, "undecided", "11a")["estimate"] for each in ((2.0, 1.0, 4.0), (2.0, None, None))] == ["2", "2"]
    assert row(8.0, 7.0, 9.0, "does not hold", "12a")["interval"] == "7 to 9"
    assert row(None, None, None, "not testable", "12b")["estimate"] == "–"


def test_verdicts_are_counted():
    rows = [dict.fromkeys(("claim", "statement", "requires", "estimate", "interval", "kind"), "")] * 3
    verdicts = ["holds", "undecided", "holds"]
    claims = [own | {"verdict": verdict} for own, verdict in zip(rows, verdicts, strict=True)]
    words = " ".join(fill("claims/section.html.j2", {"claims": claims, "counts": Counter(verdicts)}).split())
    assert "Of 3: 2 hold, 1 is undecided. The criterion" in words


@pytest.mark.parametrize("images", [1, 7])
def test_few_images_decide_nothing(images):
    table = table_of(world(images), resamples=50)
    # One image has no standard deviation, and no other image.
    assert set(table["verdict"]) == ({"undecided", "not testable"} if images == 1 else {"undecided"})
    nothing = table.filter(pl.col("estimate").is_null())["claim"].to_list()
    assert nothing == (["6a", "6b", "11a", "11b"] if images == 1 else [])
    for column in NUMBERS[1:]:
        assert table[column].null_count() == len(table), column
