"""Copies of images in groups: every number and interval is that of the images without copies, by their own code."""

from functools import partial

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import embedshift
from embedshift.errors import UsageError
from embedshift.store.shards import SUMS_KEY
from support import studies
from support.comparing import OTHER, turned, variant
from support.other_images import with_other_images
from support.revised import revise_shard, say_counts
from support.shifts import with_shifts

pytestmark = pytest.mark.slow

IMAGES, COPIES, NAMES = 24, 3, ["noise", "elastic", "blur"]
# Tables that copies leave as they are, the columns that name their rows, and metrics that count near images.
SAME = {
    "summary": ("augmentation", "metric"),
    "ranking": ("augmentation",),
    "differences": ("augmentation", "other", "metric"),
    "layers": ("augmentation", "layer", "token", "metric"),
    "looks": ("augmentation", "what"),
    "geometry": ("views", "metric"),
    "shifts": ("augmentation",),
    "search": ("augmentation", "metric"),
    "words": ("augmentation", "word"),
    "word_test": ("augmentation",),
    "heads": ("augmentation", "layer", "part"),
}
OTHER_METRICS = (
    "cka", "uniformity", "effective_rank", "recall@5", "recall@10", "mrr", "knn_overlap@10", "auc", "zero_shot_flip",
)  # fmt: skip
# They count views, or are of single views; the baselines of pixels are of other pairs.
OTHER_COLUMNS = ("n", "images", "groups", "sd", "median", "q05", "q95", "effect", "baseline", "explained")


def copied_images(table, metrics):
    """The rows of a shard, each image several times under other names."""
    views = table.num_rows // IMAGES
    order = np.repeat(np.arange(IMAGES), COPIES)[:, None] * views + np.arange(views)
    ids = [f"scene-{image:02}/{copy}.png" for image in range(IMAGES) for copy in range(COPIES) for _ in range(views)]
    rows = table.take(order.ravel()).set_column(0, table.schema.field(0), pa.array(ids, pa.string()))
    rows = rows.replace_schema_metadata({SUMS_KEY: table.schema.metadata[SUMS_KEY]})
    return with_shifts(with_other_images(rows, metrics, views, IMAGES * COPIES), len(NAMES), 1)


def with_copies(single, folder):
    study = studies.copied(single, folder)
    revise_shard(study.folder, 0, partial(copied_images, metrics=study.metrics), images=IMAGES * COPIES)
    say_counts(study.folder, IMAGES * COPIES, IMAGES * COPIES * (1 + len(NAMES)))
    study.regroup("folder")
    return study


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    asked = {"layers": 3, "heads": (3, 2), "text": True, "looks": True}
    single = studies.synthetic(IMAGES, NAMES, shard_size=IMAGES * COPIES, **asked)
    return single, with_copies(single, tmp_path_factory.mktemp("copies") / "study")


@pytest.mark.parametrize("name", SAME)
def test_a_table_of_grouped_copies_is_that_of_the_images(both, name):
    single, grouped = (study.table(name) for study in both)
    keys = SAME[name]
    if name == "summary":
        exact = pl.col("metric").is_in(["cosine_similarity", "l2_distance"])
        single, grouped = (
            table.with_columns(pl.when(exact).then(pl.col("^relative_shift.*$"))) for table in (single, grouped)
        )
    if name == "search":  # proportions have Student's t where a variance is estimated
        single, grouped = (table.drop("ci_low", "ci_high") for table in (single, grouped))
    if name == "differences":  # of recall also by resamples of the groups
        of_search = pl.col("metric").str.contains("@")
        narrow, wide = (table.filter(of_search) for table in (single, grouped))
        assert (wide["low"] <= narrow["low"] + 1e-9).all()
        assert (wide["high"] >= narrow["high"] - 1e-9).all()
        single, grouped = (table.filter(~of_search) for table in (single, grouped))
    if "metric" in keys:
        single, grouped = (table.filter(~pl.col("metric").is_in(OTHER_METRICS)) for table in (single, grouped))
    assert grouped.select(keys).equals(single.select(keys))
    for column in single.columns:
        if column in keys or column in OTHER_COLUMNS:
            continue
        found, wanted = grouped[column], single[column]
        if found.dtype != pl.Float64:
            assert found.equals(wanted), column
            continue
        assert found.is_null().equals(wanted.is_null()), column
        np.testing.assert_allclose(found.drop_nulls(), wanted.drop_nulls(), rtol=1e-5, atol=1e-9, err_msg=column)


@pytest.mark.matrix
def test_no_table_has_an_interval_for_seven_groups(both, tmp_path):
    study = studies.copied(both[1], tmp_path / "study")
    ids = study.reader().ordered_ids()
    study.regroup({name: int(name[6:8]) % 7 for name in ids})
    counted = 0
    for name in study.table_names:
        table = study.table(name)
        ends = [each for each in table.columns if each in ("low", "high", "ci_low", "ci_high") or "_low" in each]
        counted += len(ends)
        for column in ends:
            assert table[column].is_null().all(), (name, column)
    assert counted > 25


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A reference and another encoder, as they are and with grouped copies."""
    folder = tmp_path_factory.mktemp("pairs")
    first = studies.synthetic(IMAGES, NAMES, shard_size=IMAGES * COPIES)
    second = variant(first, folder / "second", turned(1), shard_size=IMAGES * COPIES, **OTHER)
    return (first, second), tuple(
        with_copies(study, folder / f"copies-{study.folder.name}") for study in (first, second)
    )


@pytest.mark.matrix
def test_a_comparison_of_grouped_copies_is_that_of_the_images(pairs):
    search = pl.col("metric").is_in(["recall@1", "recall@5", "recall@10", "mrr", "knn_overlap@10"])  # copies are found
    single, grouped = (embedshift.compare(studies).comparison.drop("n").filter(~search) for studies in pairs)
    assert single["ratio_low"].is_not_null().any()
    assert single["ci_low"].is_not_null().any()
    keys = ["augmentation", "metric", "significant"]
    assert grouped.select(keys).equals(single.select(keys))
    for column in ("mean", "reference_mean", "difference", "ci_low", "ci_high", "ratio", "ratio_low", "ratio_high"):
        np.testing.assert_allclose(
            grouped[column].fill_null(np.nan), single[column].fill_null(np.nan), rtol=1e-6, atol=1e-12, err_msg=column
        )


def test_a_group_that_is_missing_is_of_one_image_in_every_form(tmp_path):
    import pandas as pd

    study = studies.copied(studies.synthetic(30, ["noise"]), tmp_path / "study")
    ids = study.reader().ordered_ids()
    missing = [None, np.nan, np.float32("nan"), pd.NA, pd.NaT, np.ma.masked]
    names = [1.0, 1.0, 2.0, 2.0, *missing, *range(3, 23)]
    study.regroup(dict(zip(ids, names, strict=True)))
    assert study.info()["groups"]["count"] == 2 + 26
    floats = [np.nan if any(name is value for value in missing) else name for name in names]
    table = pl.DataFrame({"image_id": ids, "group": floats})
    table.write_parquet(tmp_path / "groups.parquet")
    study.regroup(str(tmp_path / "groups.parquet"))
    assert study.info()["groups"]["count"] == 2 + 26
    lines = [f"{name},{group}" for name, group in table.fill_nan(None).iter_rows()]
    (tmp_path / "blank.csv").write_text("\n\n".join(["image_id,group", *lines]).replace("None", "") + "\n\n\n")
    study.regroup(str(tmp_path / "blank.csv"))
    assert study.info()["groups"]["count"] == 2 + 26
    arrays = np.random.default_rng(0).normal(size=(30, 4))
    frame = pl.DataFrame({"image_id": ids, "vector": arrays.tolist(), "group": floats})
    for given, groups in [(arrays, names), (frame, None), (frame.to_pandas(), None)]:
        with pytest.raises(UsageError, match="no group for 6 of 30 images"):
            embedshift.from_vectors(given, {"a": arrays + 0.1}, out=tmp_path / "vectors", groups=groups)
