"""The user's own augmentations and encoders, well and ill behaved, and settings that are refused."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import embedshift
from support import studies
from support.matrix import first_only
from support.models import Colours


@pytest.fixture(scope="module")
def photos() -> Path:
    return studies.pictures(7)


def rows_of(study: embedshift.Study) -> pl.DataFrame:
    return study.rows().collect()


@pytest.mark.slow
@pytest.mark.parametrize("workers", first_only([0, 1]))
def test_own_augmentations(workers, photos, tmp_path):
    own = {
        "mirror": lambda image, rng: image[:, ::-1],
        "speckle": lambda image, rng: np.where(rng.random(image.shape) < 0.5, image, 0).astype(np.uint8),
    }
    study = embedshift.run(photos, out=tmp_path / "study", model=Colours(), augmentations=own, workers=workers, draws=2)
    rows = rows_of(study)
    assert len(rows) == 7 * 5
    assert rows["view"].to_list()[:5] == ["original", "mirror", "speckle", "mirror", "speckle"]
    assert rows.filter(pl.col("view") == "original")["pairwise"].list.len().unique().to_list() == [2]
    mirrored = rows.filter((pl.col("view") == "mirror") & (pl.col("draw") == 1))["embedding"].to_numpy()
    original = rows.filter(pl.col("view") == "original")["embedding"].to_numpy().reshape(-1, 2, 2, 3)
    np.testing.assert_array_equal(mirrored, original[:, :, ::-1].reshape(-1, 12))
    speckles = rows.filter(pl.col("view") == "speckle")["embedding"].to_numpy()
    assert len(np.unique(speckles, axis=0)) == 14
    assert study.ranking().sort("rank")["augmentation"].to_list() == ["mirror", "speckle"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sede": 1}, "sede"),
        ({"augmentations": "papr"}, "did you mean 'paper'"),
        ({"metrics": ["cosin_similarity"]}, "did you mean 'cosine_similarity'"),
        ({"store": "some"}, "`store` must be 'all' or 'metrics'"),
        ({"model": object()}, "object is not an encoder"),
        ({"images": 3}, "`images`: 3 is no path"),
        ({"pairs": {"jpeg": 3}}, "`pairs`: 3 is no path"),
        ({"groups": 3}, "`groups`: 3 is no path"),
        ({"out": "a\0b"}, r"`out` 'a\\x00b' contains a zero byte"),
        ({"out": "s3://bucket/study"}, "`out` s3://bucket/study is an address"),
        ({"out": ""}, "`out` is empty"),
        ({"progress": 3}, "progress: give True"),
    ],
)
def test_wrong_settings(settings, words, photos, tmp_path):
    with pytest.raises(embedshift.EmbedshiftError, match=words) as caught:
        embedshift.run(**({"images": photos, "out": tmp_path / "study", "model": Colours()} | settings))
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "study").exists()
