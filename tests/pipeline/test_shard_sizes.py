"""How many images a shard has: by their number, by the memory of their rows, and by what a study began with."""

from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

import embedshift
from embedshift.config import make_config
from embedshift.errors import UsageError
from embedshift.pipeline.plan import Plan
from embedshift.pipeline.prepare import prepared
from support import studies

RICH = {"layers": True, "heads_tokens": True, "tiles": 9, "mirrored": True, "families": ["noise", "blur"], "draws": 2}


@pytest.mark.parametrize(
    ("images", "row_bytes", "size"),
    [
        (1, 1_000, 64),
        (100_000, 1_000, 64),
        (100_001, 1_000, 128),
        (1_000_000, 1_000, 1024),
        (10**9, 2**18, 1024),
        (10**9, 2**18 + 1, 512),
        (10, 2**22 + 1, 32),
        (10, 2**40, 1),
    ],
)
def test_a_shard_grows_with_the_images_until_its_rows_are_large(images, row_bytes, size):
    assert Plan.images_per_shard(SimpleNamespace(images=images, row_bytes=row_bytes)) == size


def vectors(out, **settings):
    numbers = np.random.default_rng(0).normal(size=(9, 4))
    return embedshift.from_vectors(numbers, {"jpeg": numbers + 0.1}, out=out, **settings)


def test_a_study_goes_on_with_the_size_that_it_began_with(tmp_path):
    for size in (4, "auto", 4):
        assert vectors(tmp_path / "study", shard_size=size).info()["config"]["shard_size"] == 4
    assert vectors(tmp_path / "other").info()["identity"]["shard_size"] == 64
    with pytest.raises(UsageError, match="shard_size: 4 there, 64 now"):
        vectors(tmp_path / "study", shard_size=64)


@pytest.mark.slow
def test_the_memory_of_rows_is_that_of_the_shard_that_they_become():
    config = {"images": [str(studies.pictures(9))], "model": str(studies.checkpoint("dinov2")), "workers": 0, **RICH}
    with prepared(make_config(config), None) as study:
        told = study.plan.row_bytes
    whole = studies.measured(studies.pictures(9), studies.checkpoint("dinov2"), **RICH)
    table = pq.read_table(whole.folder / "shards" / "part-00000.parquet")
    numbers = table.drop_columns(["image_id", "view", "draw", "view_seed", "pixels", "caption"])
    assert told == pytest.approx(numbers.nbytes / 9, rel=0.15)  # short lists: their offsets count here


def test_rows_that_take_more_than_a_gibibyte_are_refused_in_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(Plan, "row_bytes", 2**28)
    assert vectors(tmp_path / "auto").info()["config"]["shard_size"] == 1
    vectors(tmp_path / "four", shard_size=4)
    with pytest.raises(
        UsageError, match=r"`shard_size` 5: .* take 1\.2 GiB of memory, more than 1; at most 4 images fit"
    ):
        vectors(tmp_path / "five", shard_size=5)
