"""Claims: studies that are not the paper's, that have few images, no attention, or nothing that moves."""

import numpy as np
import polars as pl
import pytest
from scipy.spatial.distance import squareform

from embedshift.augmentations.paper import PAPER
from embedshift.questions.claims.kinds import SCHEMA
from embedshift.questions.claims.tables import claims, paper_claims
from embedshift.statistics.layout import image_rows
from embedshift.statistics.summary import COSINE
from embedshift.store.baselines import baselines
from support.claims_world import LATER, METRICS, NAMES, table_of, world
from support.matrix import first_only
from support.synthetic import make_study

NUMBERS = ("estimate", "ci_low", "ci_high", "p_value", "p_adjusted")


@pytest.fixture(scope="module")
def paper_world() -> pl.LazyFrame:
    return world()


def verdicts(rows: pl.LazyFrame, names=tuple(NAMES), resamples=1_999) -> dict[str, str]:
    table = table_of(rows, names, resamples)
    return dict(table.select("claim", "verdict").iter_rows())


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
@pytest.mark.parametrize("names", first_only([["sepia"], ["noise"], ["noise", "sepia"], ["sepia", "fog"]]))
def test_studies_with_hardly_anything_of_the_paper_do_not_fail(tmp_path, names):
    study = make_study(tmp_path / "study", 8, names)
    assert set(study.claims()["verdict"]) == {"not testable"}


@pytest.mark.slow
def test_augmentations_of_the_user_change_nothing(tmp_path):
    study = make_study(tmp_path / "study", 10, ["fog", *NAMES[:4], "sepia", *NAMES[4:]], draws=2, with_tables=False)
    rows = study.rows().collect()
    keep = [n for n in study.augmentations if n in PAPER]
    pairs = [(a, b) for i, a in enumerate(study.augmentations) for b in study.augmentations[i + 1 :]]
    kept = [i for i, pair in enumerate(pairs) if set(pair) <= set(keep)]
    lists = [
        None if row is None else [row[d * len(pairs) + i] for d in range(2) for i in kept] for row in rows["pairwise"]
    ]
    bare = rows.with_columns(pl.Series("pairwise", lists, pl.List(pl.Float32)))
    bare = bare.filter(pl.col("view").is_in(["original", *keep])).lazy()
    full = claims(image_rows(study.rows()), study.augmentations, seed=0, resamples=100)
    only = claims(image_rows(bare), keep, seed=0, resamples=100)
    assert full.select("claim", "verdict").equals(only.select("claim", "verdict"))
    compare_numbers(full, only)


@pytest.mark.slow
def test_the_order_of_the_suite_does_not_matter(tmp_path):
    study = make_study(tmp_path / "study", 10, with_tables=False)
    rows = study.rows().collect()
    order = [3, 0, 8, 1, 7, 2, 6, 4, 5]
    names = [NAMES[i] for i in order]
    lists = []
    for row in rows["pairwise"]:
        if row is not None:
            matrix = squareform(np.array(row))[np.ix_(order, order)]
            row = matrix[np.triu_indices(9, k=1)].tolist()
        lists.append(row)
    turned = rows.with_columns(pl.Series("pairwise", lists, pl.List(pl.Float32))).lazy()
    one, other = (
        claims(image_rows(each), order, seed=0, resamples=100)
        for each, order in ((study.rows(), NAMES), (turned, names))
    )
    assert one.select("claim", "verdict").equals(other.select("claim", "verdict"))
    compare_numbers(one, other)


@pytest.mark.matrix
@pytest.mark.slow
def test_an_encoder_without_attention_leaves_only_its_claims_out(tmp_path):
    study = make_study(tmp_path / "study", 12, grid=None)
    table = study.claims()
    untestable = table.filter(pl.col("verdict") == "not testable")["claim"].to_list()
    assert untestable == ["8a", "8b", "10a", "10b", "10c", "12b"]
    assert table.filter(pl.col("claim").is_in(untestable))["estimate"].null_count() == 6


def test_embeddings_are_not_read(paper_world):
    def read(_):
        raise AssertionError("read")

    rows = paper_world.with_columns(embedding=pl.col("draw").map_batches(read, return_dtype=pl.Float32))
    with pytest.raises(Exception, match="read"):
        rows.collect()
    assert len(claims(image_rows(rows), NAMES, seed=0, resamples=10)) == len(paper_claims())


@pytest.mark.parametrize("images", first_only([1, 2, 7]))
def test_few_images_decide_nothing(images):
    table = table_of(world(images), resamples=50)
    # One image has no standard deviation, and no other image.
    assert set(table["verdict"]) == ({"undecided", "not testable"} if images == 1 else {"undecided"})
    nothing = table.filter(pl.col("estimate").is_null())["claim"].to_list()
    assert nothing == (["6a", "6b", "11a", "11b"] if images == 1 else [])
    for column in NUMBERS[1:]:
        assert table[column].null_count() == len(table), column


def test_one_image_with_many_draws_decides_nothing():
    assert set(verdicts(world(1, draws=20), resamples=50).values()) == {"undecided", "not testable"}


@pytest.mark.slow
@pytest.mark.parametrize(("images", "trees"), first_only([(8, "undecided"), (19, "undecided"), (20, "holds")]))
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


def test_a_study_in_which_nothing_moves_is_not_testable():
    same = {metric: dict.fromkeys(NAMES, 1.0) for metric in (*METRICS, *LATER)}
    still = {metric: dict.fromkeys(NAMES, 0.0) for metric in (*METRICS, *LATER)}
    pairs = {(a, b): 0.0 for i, a in enumerate(NAMES) for b in NAMES[i + 1 :]}
    rows = world(30, 1, same, still, pairs, pairs).with_columns(attention_entropy_rise=pl.lit(0.0))
    table = claims(image_rows(rows), NAMES, seed=0, resamples=50)
    assert set(table["verdict"]) == {"not testable"}
    assert all(table[column].null_count() == len(table) for column in NUMBERS)


@pytest.mark.parametrize("rounding", [1e-16, -1e-16, 1e-15])
def test_what_rounding_leaves_of_equal_numbers_moves_nothing(rounding):
    metrics = (*METRICS, *LATER)
    same = {metric: {name: 0.5 + (name == "noise") * rounding for name in NAMES} for metric in metrics}
    still = {metric: dict.fromkeys(NAMES, 0.0) for metric in metrics}
    found = verdicts(world(30, 1, same, still))
    assert {found[part] for part in found if part[:-1] in (*"1456789", "12")} == {"not testable"}


def test_the_same_offset_in_every_image_is_no_tie():
    """No image differs from another: there is nothing that chance could have done."""
    rows = world(10, sds={"l2_distance": dict.fromkeys(NAMES, 0.0)})
    row = claims(image_rows(rows), NAMES, seed=0, resamples=9_999).row(0, named=True)
    assert (row["verdict"], row["p_value"]) == ("holds", 1e-4)
    assert row["ci_low"] == row["ci_high"] == pytest.approx(3)


def test_no_images_are_not_testable(paper_world):
    assert set(verdicts(paper_world.filter(pl.col("image_id") == "none"))) == {claim.name for claim in paper_claims()}
    assert set(verdicts(paper_world.filter(pl.col("image_id") == "none")).values()) == {"not testable"}


@pytest.mark.matrix
@pytest.mark.slow
def test_the_table_is_written_and_read_back(tmp_path):
    study = make_study(tmp_path / "study", 12, seed=3)
    table = study.claims()
    assert table.columns[:6] == ["claim", "statement", "estimate", "ci_low", "ci_high", "verdict"]
    assert table.columns[6:] == ["p_value", "p_adjusted", "requires"]
    assert table.schema == SCHEMA
    assert table["claim"].to_list() == [claim.name for claim in paper_claims()]
    assert set(table["verdict"]) <= {"holds", "does not hold", "undecided", "not testable"}
    assert pl.read_csv(study.folder / "tables" / "claims.csv").equals(table)
    again = claims(image_rows(study.rows()), study.augmentations, seed=3, baseline=baselines(study.reader())[COSINE])
    assert table.select("claim", "verdict").equals(again.select("claim", "verdict"))
    compare_numbers(table, again)
    (study.folder / "tables" / "claims.parquet").unlink()
    assert not study.is_complete()


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


def compare_numbers(one: pl.DataFrame, other: pl.DataFrame) -> None:
    for column in ("estimate", "ci_low", "ci_high"):
        a, b = (table[column].fill_null(np.nan).to_numpy() for table in (one, other))
        np.testing.assert_allclose(a, b, atol=1e-6)
