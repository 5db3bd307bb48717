"""Claims: verdicts where the answer is known, both ways and undecided, and studies that are not the paper's."""

import numpy as np
import polars as pl
import pytest
from scipy.spatial.distance import squareform

from embedshift.augmentations.paper import PAPER
from embedshift.questions.claims.evidence import Evidence
from embedshift.questions.claims.paper import CLAIMS
from embedshift.questions.claims.tables import claims
from embedshift.questions.claims.verdict import Claim, judge
from support.claims_world import COLOR, COSINE, LEAST, NAMES, world
from support.synthetic import make_study


def verdicts(rows: pl.LazyFrame, names=tuple(NAMES), resamples=300) -> dict[str, str]:
    table = claims(rows, list(names), seed=0, resamples=resamples)
    return dict(table.select("claim", "verdict").iter_rows())


def l2(**values):
    return {"means": {"l2_distance": values}}


def cosine(**values):
    return {"means": {"cosine_similarity": values}}


def attention(**values):
    return {"means": {"attention_similarity": values}}


def detail(values):
    return {"means": {"detail_preservation": values}}


def edge(values):
    return {"means": {"edge_preservation": values}}


def wide(metric, sd, **values):
    """Means with a spread that drowns them."""
    return {"means": {metric: values}, "sds": {metric: dict.fromkeys(values, sd)}}


REVERSED = {name: 1 - value for name, value in COSINE.items()}
ELASTIC_BEHIND = COSINE | {"elastic": 0.1}
CALM, WILD = dict.fromkeys(COLOR, 0.05), dict.fromkeys(LEAST, 0.4)
NOISE_AMONG = {("noise", name): 0.2 for name in NAMES if name != "noise"}
BORDER = dict.fromkeys(NOISE_AMONG, 0.31)

# For each part: a world in which it does not hold, and one in which the images cannot tell.
DENIED = {
    "1a": l2(blur=12.0),
    "1b": cosine(blur=0.4),
    "2a": {"distances": NOISE_AMONG},
    "3a": {"distances": {("shift_scale_rotate", "elastic"): 0.05}},
    "3b": {"distances": {("blur", "color_jitter"): 0.05}},
    "4a": l2(horizontal_flip=8.0),
    "4b": cosine(horizontal_flip=0.6),
    "5a": l2(perspective=2.0),
    "5b": cosine(perspective=0.9),
    "5c": l2(shift_scale_rotate=2.0),
    "5d": cosine(shift_scale_rotate=0.9),
    "5e": {},
    "5f": {},
    "6a": {"sds": {"l2_distance": CALM | WILD}},
    "6b": {"sds": {"cosine_similarity": {n: v / 20 for n, v in (CALM | WILD).items()}}},
    "6c": l2(blur=0.5, coarse_dropout=0.6, color_jitter=0.7),
    "6d": cosine(blur=0.99, coarse_dropout=0.98, color_jitter=0.97),
    "7a": detail(REVERSED),
    "7b": edge(REVERSED),
    "7c": detail(ELASTIC_BEHIND),
    "8a": attention(blur=0.7),
    "8b": attention(color_jitter=0.82),
    "9a": l2(elastic=5.1),
    "9b": cosine(perspective=0.45),
    "10a": {"temperature": {"blur": 0.5}},
    "10b": {"temperature": {"shift_scale_rotate": 0.5}},
    "10c": {"temperature": {"perspective": 0.5}},
}
UNDECIDED = {
    "1a": wide("l2_distance", 1.0, noise=10.0, blur=10.0),
    "1b": wide("cosine_similarity", 0.1, noise=0.5, blur=0.5),
    "2a": {"distances": BORDER, "distance_sd": dict.fromkeys(BORDER, 0.1)},
    "3a": {
        "distances": {("shift_scale_rotate", "elastic"): 0.1},
        "distance_sd": {("shift_scale_rotate", "elastic"): 0.03},
    },
    "3b": {"distances": {("blur", "color_jitter"): 0.165}, "distance_sd": {("blur", "color_jitter"): 0.1}},
    "4a": l2(horizontal_flip=4.8),
    "4b": cosine(horizontal_flip=0.76),
    "5a": l2(perspective=5.2),
    "5b": cosine(perspective=0.74),
    "5c": l2(shift_scale_rotate=5.2),
    "5d": cosine(shift_scale_rotate=0.74),
    "5e": l2(perspective=4.8),
    "5f": cosine(perspective=0.76),
    "6a": {"sds": {"l2_distance": dict.fromkeys(NAMES, 0.2)}},
    "6b": {"sds": {"cosine_similarity": dict.fromkeys(NAMES, 0.01)}},
    "6c": l2(blur=0.8, coarse_dropout=1.0, color_jitter=1.2),
    "6d": cosine(blur=0.94, coarse_dropout=0.95, color_jitter=0.96),
    "7a": wide("detail_preservation", 0.2, **dict.fromkeys(NAMES, 0.5)),
    "7b": wide("edge_preservation", 0.2, **dict.fromkeys(NAMES, 0.5)),
    "7c": wide("detail_preservation", 0.2, **dict.fromkeys(NAMES, 0.5)),
    "8a": attention(blur=0.8),
    "8b": attention(color_jitter=0.87),
    "9a": l2(elastic=4.8),
    "9b": cosine(perspective=0.5),
    "10a": {"temperature": {"blur": 1.0}},
    "10b": {"temperature": {"shift_scale_rotate": 1.0}},
    "10c": {"temperature": {"perspective": 1.0}},
}
SECTION_4 = {"5e": l2(perspective=2.0), "5f": cosine(perspective=0.9)}


@pytest.fixture(scope="module")
def paper_world() -> pl.LazyFrame:
    return world()


def test_every_claim_of_the_paper_has_parts_that_name_augmentations():
    parts = [claim.name for claim in CLAIMS]
    assert {int(part[:-1]) for part in parts} == set(range(1, 11))
    assert len(set(parts)) == len(parts)
    assert set(parts) == set(DENIED) == set(UNDECIDED)
    assert all(any(name in claim.statement for name in [*NAMES, "all nine"]) for claim in CLAIMS)
    assert len({claim.statement for claim in CLAIMS}) == len(CLAIMS)


def test_the_world_of_the_paper_is_confirmed_in_all_parts_but_the_second_reading_of_claim_5(paper_world):
    found = verdicts(paper_world)
    assert {part for part, verdict in found.items() if verdict == "does not hold"} == {"5e", "5f"}
    assert {part for part, verdict in found.items() if verdict == "holds"} == set(found) - {"5e", "5f"}


@pytest.mark.parametrize("part", SECTION_4)
def test_section_4_is_confirmed_where_perspective_is_minimal(part):
    assert verdicts(world(**SECTION_4[part]))[part] == "holds"


@pytest.mark.parametrize("part", DENIED)
def test_the_opposite_does_not_hold(part):
    assert verdicts(world(**DENIED[part]))[part] == "does not hold"


@pytest.mark.parametrize("part", UNDECIDED)
def test_what_the_images_cannot_tell_is_undecided(part):
    assert verdicts(world(**UNDECIDED[part]))[part] == "undecided"


def test_estimates_are_those_of_the_made_world(paper_world):
    estimate = dict(claims(paper_world, NAMES, seed=0, resamples=50).select("claim", "estimate").iter_rows())
    known = {
        "1a": 10 - 7, "1b": 0.65 - 0.5, "2a": 1, "3a": 1, "3b": 1, "4a": 4.8 - 1.2, "4b": 0.94 - 0.76,
        "5a": 7 - 5.2, "5b": 0.74 - 0.65, "5c": 6.5 - 5.2, "5d": 0.74 - 0.675, "5e": 4.8 - 7, "5f": 0.65 - 0.76,
        "6a": 0.2, "6b": 0.01, "6c": 5 - 1, "6d": 0.95 - 0.75, "7a": 1, "7b": 1, "7c": 6,
        "8a": 0.85 - 0.8, "8b": 0.95 - 0.87, "9a": 10 - 7, "9b": 0.65 - 0.5,
    }  # fmt: skip
    assert {part: estimate[part] for part in known} == pytest.approx(known, abs=1e-9)


# --- studies that are not the paper's ---------------------------------------------------------------------------------


def test_parts_without_their_augmentations_are_not_testable(paper_world):
    rows = without(paper_world, "elastic")
    names = [name for name in NAMES if name != "elastic"]
    found = verdicts(rows, names)
    untestable = {part for part, verdict in found.items() if verdict == "not testable"}
    # 5e, 5f: perspective less than all but the three least, of which elastic is one.
    assert untestable == set(found) - {"5e", "5f", "10a", "10b", "10c"}
    table = claims(rows, names, seed=0, resamples=50).filter(pl.col("verdict") == "not testable")
    assert table.select(pl.col("estimate", "ci_low", "ci_high").is_null().all()).row(0) == (True, True, True)
    assert verdicts(without(paper_world, "noise"), [*names[1:], "elastic"])["6a"] == "holds"


@pytest.mark.parametrize("names", [["sepia"], ["noise"], ["noise", "sepia"], ["sepia", "fog"]])
def test_studies_with_hardly_anything_of_the_paper_do_not_fail(tmp_path, names):
    study = make_study(tmp_path / "study", 8, names)
    assert set(study.claims()["verdict"]) == {"not testable"}


def test_augmentations_of_the_user_change_nothing(tmp_path):
    study = make_study(tmp_path / "study", 10, ["fog", *NAMES[:4], "sepia", *NAMES[4:]], draws=2)
    rows = study.rows().collect()
    keep = [n for n in study.augmentations if n in PAPER]
    pairs = [(a, b) for i, a in enumerate(study.augmentations) for b in study.augmentations[i + 1 :]]
    kept = [i for i, pair in enumerate(pairs) if set(pair) <= set(keep)]
    lists = [
        None if row is None else [row[d * len(pairs) + i] for d in range(2) for i in kept] for row in rows["pairwise"]
    ]
    bare = rows.with_columns(pl.Series("pairwise", lists, pl.List(pl.Float32)))
    bare = bare.filter(pl.col("view").is_in(["original", *keep])).lazy()
    full = claims(study.rows(), study.augmentations, seed=0, resamples=100)
    compare(full, claims(bare, keep, seed=0, resamples=100))


def test_the_order_of_the_suite_does_not_matter(tmp_path):
    study = make_study(tmp_path / "study", 10)
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
    compare(claims(study.rows(), NAMES, seed=0, resamples=100), claims(turned, names, seed=0, resamples=100))


def test_an_encoder_without_attention_leaves_only_its_claims_out(tmp_path):
    study = make_study(tmp_path / "study", 12, grid=None)
    table = study.claims()
    untestable = table.filter(pl.col("verdict") == "not testable")["claim"].to_list()
    assert untestable == ["8a", "8b", "10a", "10b", "10c"]
    assert table.filter(pl.col("claim").is_in(untestable))["estimate"].null_count() == 5


def test_embeddings_are_not_read(paper_world):
    def read(_):
        raise AssertionError("read")

    rows = paper_world.with_columns(embedding=pl.col("draw").map_batches(read, return_dtype=pl.Float32))
    with pytest.raises(Exception, match="read"):
        rows.collect()
    assert len(claims(rows, NAMES, seed=0, resamples=10)) == len(CLAIMS)


@pytest.mark.parametrize("images", [1, 2, 5])
def test_few_images_decide_nothing(images):
    table = claims(world(images), NAMES, seed=0, resamples=50)
    spread = table["claim"].is_in(["6a", "6b"])
    assert set(table.filter(~spread)["verdict"]) == {"undecided"}
    assert table.filter(~spread)["estimate"].null_count() == 0
    assert table["ci_low"].null_count() == table["ci_high"].null_count() == len(table)


def test_six_images_can_decide():
    assert verdicts(world(6))["1a"] == "holds"


def test_no_images_are_not_testable(paper_world):
    assert set(verdicts(paper_world.filter(pl.col("image_id") == "none"))) == {claim.name for claim in CLAIMS}
    assert set(verdicts(paper_world.filter(pl.col("image_id") == "none")).values()) == {"not testable"}


@pytest.mark.parametrize("rounding", [1e-16, -1e-16])
def test_what_rounding_leaves_of_equal_sums_is_a_tie(rounding):
    claim = Claim("0a", "blur differs", lambda evidence: evidence.get(("difference",), ["blur"])[:, 0])
    assert judge(claim, Evidence(40, {("difference", "blur"): np.full(100, rounding)}))["verdict"] == "undecided"


def test_the_table_is_written_and_read_back(tmp_path):
    study = make_study(tmp_path / "study", 12, seed=3)
    table = study.claims()
    assert table.columns == ["claim", "statement", "estimate", "ci_low", "ci_high", "verdict"]
    assert table["claim"].to_list() == [claim.name for claim in CLAIMS]
    assert set(table["verdict"]) <= {"holds", "does not hold", "undecided"}
    assert pl.read_csv(study.folder / "tables" / "claims.csv").equals(table)
    compare(table, claims(study.rows(), study.augmentations, seed=3))
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


def compare(one: pl.DataFrame, other: pl.DataFrame) -> None:
    assert one.select("claim", "verdict").equals(other.select("claim", "verdict"))
    for column in ("estimate", "ci_low", "ci_high"):
        a, b = (table[column].fill_null(np.nan).to_numpy() for table in (one, other))
        np.testing.assert_allclose(a, b, atol=1e-6)
