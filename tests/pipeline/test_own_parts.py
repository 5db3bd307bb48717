"""The user's own augmentations and encoders, well and ill behaved, and settings that are refused."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import embedshift
from embedshift.encoders import EncoderOutput
from embedshift.pipeline.batches import unusable
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


def test_a_zero_vector_is_no_embedding():
    words = "the encoder's embedding is a zero vector, which has no direction"
    assert unusable(EncoderOutput(np.zeros((2, 8), np.float32), None, None)) == words
    assert unusable(EncoderOutput(np.ones((2, 8), np.float32), None, None)) is None


def test_an_encoder_that_raises_is_one_line(photos, tmp_path):
    class Raises(Colours):
        def __call__(self, views):
            raise ValueError("the device\nis broken")

    with pytest.raises(embedshift.EmbedshiftError) as caught:
        embedshift.run(photos, out=tmp_path / "study", model=Raises(), workers=1, batch_size=4)
    line = "the encoder colours failed on a batch of 4 views: ValueError: the device is broken"
    assert (str(caught.value), caught.value.exit_code) == (line, 1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"draws": 0}, "draws"),
        ({"sede": 1}, "sede"),
        ({"precision": "float8"}, "precision"),
        ({"resize": "stretch"}, "resize"),
        ({"engine": "slurm"}, "engine"),
        ({"augmentations": "papr"}, "did you mean 'paper'"),
        ({"augmentations": {}}, "give at least one"),
        ({"augmentations": {"original": lambda image, rng: image}}, "cannot be a name"),
        ({"metrics": ["cosin_similarity"]}, "did you mean 'cosine_similarity'"),
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
