"""The user's own augmentations and encoders, well and ill behaved, and settings that are refused."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import embedshift
from embedshift.encoders import EncoderOutput
from support import studies
from support.matrix import first_only
from support.models import Colours

RADAR = ("cosine_similarity", "attention_similarity", "patch_similarity", "edge_preservation", "detail_preservation")


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "words"),
    [(ValueError("too bright for me"), "ValueError: too bright for me"), (SystemExit(0), "it called sys.exit(0)")],
)
def test_own_augmentation_that_fails_is_a_failure_of_its_image(photos, tmp_path, error, words):
    def picky(image, rng):
        if image.mean() > np.median(means):
            raise error
        return image

    means = [np.asarray(Image.open(p)).mean() for p in photos.iterdir()]
    study = embedshift.run(photos, out=tmp_path / "study", model=Colours(), augmentations={"picky": picky}, workers=0)
    failures = study.failures()
    assert 0 < len(failures) < 7
    assert set(failures["stage"]) == {"draw"}
    assert set(failures["reason"]) == {f"augmentation 'picky' failed: {words}"}


@pytest.mark.matrix
@pytest.mark.slow
def test_an_encoder_without_attention(photos, tmp_path):
    study = embedshift.run(photos, out=tmp_path / "study", model=Colours(), workers=0)
    rows = rows_of(study)
    assert rows["attention"].null_count() == rows["attention_similarity"].null_count() == len(rows)
    summary = study.summary()
    assert summary.filter(pl.col("metric") == "attention_similarity")["n"].unique().to_list() == [0]
    means = rows.filter(pl.col("view") != "original").group_by("view").agg(pl.col(m).mean() for m in RADAR)
    for row in study.ranking().iter_rows(named=True):
        of_it = means.filter(pl.col("view") == row["augmentation"]).row(0, named=True)
        four = [of_it[m] for m in RADAR if m != "attention_similarity"]
        assert row["mean_performance"] == pytest.approx(sum(four) / 4, abs=1e-12)
    assert study.info()["encoder"]["grid"] is None
    assert study.info()["encoder"]["attention_kind"] is None


class Sick(Colours):
    """Gives NaN for every view that is bright."""

    def __call__(self, views):
        output = super().__call__(views)
        output.embedding[output.embedding.mean(axis=1) > self.limit] = np.nan
        return EncoderOutput(output.embedding, None, None)


@pytest.mark.matrix
@pytest.mark.slow
def test_embeddings_that_are_not_finite_are_failures(photos, tmp_path):
    encoder = Sick()
    healthy = rows_of(embedshift.run(photos, out=tmp_path / "healthy", model=Colours(), workers=0))
    brightest = healthy["embedding"].to_numpy().mean(axis=1).reshape(7, 10).max(axis=1)
    encoder.limit = float(np.median(brightest))
    names = healthy["image_id"].unique(maintain_order=True).to_list()
    sick = {name for name, value in zip(names, brightest, strict=True) if value > encoder.limit}
    assert len(sick) == 3
    study = embedshift.run(photos, out=tmp_path / "study", model=encoder, workers=0, batch_size=7)
    failures = study.failures()
    assert set(failures["image_id"]) == sick
    assert set(failures["stage"]) == {"encode"}
    assert "not finite" in failures["reason"][0]
    kept = healthy.filter(~pl.col("image_id").is_in(list(sick))).drop("attention")
    assert rows_of(study).drop("attention").equals(kept, null_equal=True)


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
