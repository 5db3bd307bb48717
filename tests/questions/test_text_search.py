"""The search from captions and zero-shot answers, against slow loops, scikit-learn and SciPy."""

import math

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest

import embedshift
from embedshift.questions.text import tables as search
from embedshift.questions.text.tables import caption_ranks, text_search
from embedshift.statistics.intervals import bounded_interval, mean_interval, proportion_interval
from embedshift.statistics.layout import image_rows
from embedshift.statistics.sample import estimates_from_values, gather
from embedshift.statistics.vectors import cosine
from support import studies
from support.captioned import LABELS, MARKS, NINE, Planted
from support.models import pictures
from support.reference import cosine_similarity

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
SETTINGS = {"augmentations": MARKS, "workers": 0, "text": True, "draws": 2}
# Images without a caption, and two captions that are equal.
WITHOUT, EQUAL = (1, 5, 9), (2, 3)


def slow_rank(caption, place, vectors, groups=None):
    """1 + vectors of other groups that are as near; NaN where the own one has no direction."""
    own = cosine_similarity(caption, vectors[place])
    groups = range(len(vectors)) if groups is None else groups
    others = [
        cosine_similarity(caption, vector) for vector, of in zip(vectors, groups, strict=True) if of != groups[place]
    ]
    return math.nan if math.isnan(own) else 1 + sum(each >= own for each in others)


def ranks_of(captions, places, gallery, step, groups=None):
    own, blocks = cosine(captions[:, None], gallery[places]), range(0, len(gallery), step)
    return caption_ranks(captions, places, own, (gallery[at : at + step] for at in blocks), groups)


# Ranks.


@pytest.mark.parametrize(("step", "groups"), [(7, None), (40, None), (7, np.arange(40) % 12)])
def test_ranks_by_a_slow_loop_with_ties_and_what_has_no_direction(step, groups):
    # Whole numbers: equal cosines are equal to the last bit, by whatever way they are computed.
    gallery = RNG.integers(-1, 2, (40, 2, 4)).astype(np.float32)
    gallery[11], gallery[30, 1] = gallery[3], 0
    captions, places = RNG.integers(-1, 2, (12, 4)).astype(float), np.array([3, 11, 30, 39, 0, 1, 2, 4, 5, 6, 7, 8])
    captions[captions.any(axis=1) == 0] = 1
    captions *= 2.0 ** np.arange(-6, 6)[:, None]
    gallery *= 4.0 ** RNG.integers(-2, 3, (40, 2, 1)).astype(np.float32)
    asked = list(zip(captions.tolist(), places, strict=True))
    wanted = [[slow_rank(caption, at, gallery[:, view].tolist(), groups) for view in range(2)] for caption, at in asked]
    found = ranks_of(captions, places, gallery, step, groups)
    np.testing.assert_array_equal(found, wanted)
    assert np.isnan(found).sum() >= 1
    assert len(np.unique(found)) > 5


@pytest.mark.parametrize(("apart", "is_tie"), [(1e-8, True), (3e-6, False)])
def test_cosines_within_a_millionth_are_ties(apart, is_tie):
    start, aside = np.eye(2, 64)
    order = RNG.permutation(30)
    gallery = start + np.sqrt(2 * apart * order)[:, None] * aside  # cosines about 1 - apart * order
    found = ranks_of(np.tile(start, (30, 1)), np.arange(30), gallery[:, None], 8)
    np.testing.assert_array_equal(found.ravel(), np.full(30, 30) if is_tie else 1 + order)


# The table, of a study that was measured.


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = pictures(tmp_path_factory.mktemp("photos"), 14)
    for place, file in enumerate(sorted(folder.glob("*.png"))):
        if place not in WITHOUT:
            file.with_suffix(".txt").write_text(f"caption {EQUAL[0] if place in EQUAL else place}")
    return folder


@pytest.fixture(scope="module")
def study(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("search") / "study"
    return embedshift.run(photos, out=out, model=Planted(knows=False), shard_size=5, **SETTINGS)


def slow_ranks(study, name):
    """Image → rank before, ranks after, draw by draw."""
    rows = study.rows().collect()
    images = rows.filter(pl.col("view") == "original")

    def gallery(view, draw):
        return rows.filter(pl.col("view") == view, pl.col("draw") == draw)["embedding"].to_list()

    galleries = [gallery("original", 0), *(gallery(name, draw) for draw in range(2))]
    asked = [(place, vector) for place, vector in enumerate(images["caption_vector"].to_list()) if vector is not None]
    return np.array([[slow_rank(vector, place, each) for each in galleries] for place, vector in asked], float)


def test_the_table_by_slow_loops(study):
    table = study.text_search()
    assert table["augmentation"].unique(maintain_order=True).to_list() == list(NINE)
    assert table["metric"].to_list() == ["recall@1", "recall@5", "recall@10", "mrr"] * 9
    for name in ("noise", "blur", "coarse_dropout"):
        ranks = slow_ranks(study, name)
        assert ranks.shape == (11, 3)
        for row in table.filter(pl.col("augmentation") == name).to_dicts():
            k = int(row["metric"].removeprefix("recall@")) if row["metric"] != "mrr" else 0
            scores = (ranks <= k).astype(float) if k else 1 / ranks
            before, after = scores[:, 0], scores[:, 1:]
            assert row["n"] == 22
            assert (row["before"], row["value"]) == pytest.approx((before.mean(), after.mean()))
            assert row["difference"] == pytest.approx((after.mean(axis=1) - before).mean())
            paired = bounded_interval((after.mean(axis=1) - before)[:, None], -1.0, 1.0, seed=0)
            assert (row["low"], row["high"]) == pytest.approx([end.item() for end in paired])
            if k:
                exact = binomtest(int(before.sum()), 11).proportion_ci(method="exact")
                ends = proportion_interval(gather([(after.sum(axis=1)[:, None], np.full((11, 1), 2.0))]))
                assert (row["before_low"], row["before_high"]) == pytest.approx((exact.low, exact.high))
            else:
                ends = bounded_interval(after.mean(axis=1)[:, None], 0.0, 1.0, seed=0)
                first = bounded_interval(before[:, None], 0.0, 1.0, seed=0)
                assert (row["before_low"], row["before_high"]) == pytest.approx([end.item() for end in first])
            assert (row["ci_low"], row["ci_high"]) == pytest.approx([end.item() for end in ends])
            assert row["low"] < row["high"]
            assert row["ci_low"] < row["ci_high"]


def test_a_view_that_is_missing_neither_searches_nor_is_found(study):
    rows = study.rows().filter(pl.col("draw") == 0).collect()
    gone = (pl.col("view") == "blur") & (pl.col("image_id") == rows.filter(caption="caption 4")["image_id"][0])
    kind = rows.schema["embedding"]
    some = rows.with_columns(pl.when(gone).then(pl.lit(None, kind)).otherwise("embedding").alias("embedding"))
    table, whole = (text_search(image_rows(each.lazy()), NINE, seed=0).filter(metric="mrr") for each in (some, rows))
    blur, before = (each.filter(augmentation="blur").row(0, named=True) for each in (table, whole))
    assert (blur["n"], before["n"]) == (10, 11)
    assert blur["before"] != before["before"], "the same images before and after"
    assert blur["difference"] == pytest.approx(blur["value"] - blur["before"])
    others = pl.col("augmentation") != "blur"
    assert table.filter(others).equals(whole.filter(others))


class Unsure(Planted):
    """Its views lie about as near to one class as to another."""

    def encode_text(self, texts):
        names = [next(place for place, label in enumerate(LABELS) if label in text) for text in texts]
        return [np.full(16, 3.0) + 2 * self.axis(place) for place in names]


def test_the_table_of_classes_by_slow_loops(tmp_path):
    given = {"augmentations": MARKS, "workers": 0, "labels": list(LABELS), "draws": 2, "shard_size": 4}
    study = embedshift.run(studies.pictures(10), out=tmp_path / "study", model=Unsure(), **given)
    rows, table = study.rows().collect(), study.zero_shot()
    assert table["augmentation"].to_list() == list(NINE)
    before = dict(rows.filter(view="original").select("image_id", "zero_shot_margin").iter_rows())
    assert len(before) == 10
    assert min(before.values()) >= 0
    for row in table.to_dicts():
        views = rows.filter(view=row["augmentation"]).to_dicts()
        kept, margins = ({image: [] for image in before} for _ in range(2))
        for view in views:
            kept[view["image_id"]].append(1 - view["zero_shot_flip"])
            margins[view["image_id"]].append(before[view["image_id"]] + view["zero_shot_margin_shift"])
        kept, margins = np.array([*kept.values()]), np.array([*margins.values()])
        assert ((margins < 0) == (kept == 0)).all(), "a margin below 0 is a flip"
        assert row["n"] == kept.size == 20
        assert row["agreement"] == pytest.approx(kept.mean())
        assert (row["margin_before"], row["margin"]) == pytest.approx((np.mean([*before.values()]), margins.mean()))
        fractions = proportion_interval(gather([(kept.sum(axis=1)[:, None], np.full((10, 1), 2.0))]))
        assert (row["ci_low"], row["ci_high"]) == pytest.approx([end.item() for end in fractions])
        means = mean_interval(estimates_from_values(margins.mean(axis=1)[:, None]), seed=0)
        assert (row["margin_low"], row["margin_high"]) == pytest.approx([end.item() for end in means])
    assert 0 < table["agreement"].min() < table["agreement"].max()


def test_the_first_captions_in_the_study_s_order_search(study, monkeypatch):
    monkeypatch.setattr(search, "QUERIES", 8)
    table = text_search(image_rows(study.rows()), NINE, seed=0)
    assert table["n"].to_list() == [16] * 36
    ranks = slow_ranks(study, "noise")[:8]
    found = table.filter(pl.col("augmentation") == "noise", pl.col("metric") == "mrr")
    assert found["value"].item() == pytest.approx((1 / ranks[:, 1:]).mean())


def test_a_recall_that_takes_in_all_images_says_nothing_and_is_left_out(photos, tmp_path):
    study = embedshift.run(photos, out=tmp_path / "few", model=Planted(knows=False), limit=4, **SETTINGS)
    assert study.text_search()["metric"].unique(maintain_order=True).to_list() == ["recall@1", "mrr"]
    assert study.text_search()["ci_low"].null_count() == 18
