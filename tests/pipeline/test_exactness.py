"""Studies against slow, independent computations, for every family of encoders. See `exactness.py`."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel

import embedshift
from embedshift.encoders.bundled import cached_folder
from embedshift.encoders.families import IMAGENET_MEAN, IMAGENET_STD
from embedshift.sources.demo import copy_photos
from support import exactness, models
from support.matrix import first_only

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight photographs, and of each a mirrored crop."""
    folder = copy_photos(tmp_path_factory.mktemp("pictures"))
    for file in list(folder.iterdir()):
        photo = Image.open(file).convert("RGB")
        crop = photo.crop((photo.width // 4, photo.height // 8, photo.width, photo.height // 2))
        crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / f"{file.stem}-crop.png")
    return folder


def few(folder: Path, pictures: Path, count: int) -> Path:
    folder.mkdir()
    for file in sorted(pictures.iterdir())[:count]:
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


@pytest.mark.matrix
def test_bundled_encoder_on_16_pictures(pictures, tmp_path):
    """At half its size, which is a quarter of the work; `benchmarks/verify.py` does the same at 224."""
    study = embedshift.run(pictures, out=tmp_path / "study", model="dinov2-small-offline", size=112)
    encoder = exactness.eager(cached_folder(), "dinov2", IMAGENET_MEAN, IMAGENET_STD)
    found = exactness.differences(study, pictures, encoder, loops_every=4)
    assert study.info()["counts"]["measured"] == 16
    assert not exactness.over_tolerance(found)


@pytest.mark.matrix
def test_bundled_encoder_at_its_own_size_with_draws(pictures, tmp_path):
    settings = {"draws": 2, "seed": 5, "limit": 2}
    study = embedshift.run(pictures, out=tmp_path / "study", model="dinov2-small-offline", **settings)
    encoder = exactness.eager(cached_folder(), "dinov2", IMAGENET_MEAN, IMAGENET_STD)
    found = exactness.differences(study, few(tmp_path / "few", pictures, 2), encoder, loops_every=2, views_every=4)
    assert not exactness.over_tolerance(found)


def test_clip_saved_and_loaded_on_16_pictures(pictures, tmp_path):
    folder = models.make("clip", tmp_path / "clip")
    study = embedshift.run(pictures, out=tmp_path / "study", model=str(folder), shard_size=5)
    found = exactness.differences(study, pictures, exactness.eager(folder, "clip", models.MEAN, models.STD))
    assert not exactness.over_tolerance(found)
    # Attention that is nearly uniform would be equal whatever is done wrong.
    attention = study.rows().collect()["attention"].to_numpy()
    assert (attention.max(axis=1) > 3 * attention.mean(axis=1)).mean() > 0.5


@pytest.mark.matrix
def test_full_size_clip(pictures, tmp_path):
    torch.manual_seed(0)
    model = CLIPModel._from_config(CLIPConfig())
    with torch.no_grad():  # out of the box, attention of a random CLIP is uniform to 1e-4
        for layer in model.vision_model.encoder.layers:
            layer.self_attn.q_proj.weight.mul_(12)
    folder = models.save(model, tmp_path / "clip", size=224)
    study = embedshift.run(few(tmp_path / "few", pictures, 2), out=tmp_path / "study", model=str(folder))
    found = exactness.differences(
        study, tmp_path / "few", exactness.eager(folder, "clip", models.MEAN, models.STD), loops_every=2, views_every=4
    )
    assert not exactness.over_tolerance(found)
    assert study.info()["encoder"]["dim"] == 512
    assert study.info()["encoder"]["grid"] == [7, 7]


TYPES = {
    "clip": "clip", "clip_vision": "clip_vision_model", "dinov2": "dinov2", "dinov2_registers": "dinov2_with_registers",
    "vit": "vit", "vit_classifier": "vit",
}  # fmt: skip


@pytest.mark.parametrize("size", first_only([models.SIZE, 56]))
@pytest.mark.parametrize("kind", first_only(models.MAKERS))
def test_every_family_equals_eager(kind, size, tmp_path):
    folder = models.make(kind, tmp_path / kind)
    encoder = embedshift.load_encoder(str(folder), size=size)
    views = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    found = encoder(views)
    embedding, attention = exactness.eager(folder, TYPES[kind], models.MEAN, models.STD)(views)
    side = size // models.PATCH
    assert found.attention.shape == attention.shape == (3, side, side)
    assert found.attention_kind == encoder.attention_kind == "cls"
    assert encoder.grid == (side, side)
    np.testing.assert_allclose(found.embedding, embedding, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.attention, attention, rtol=0, atol=1e-5)
    assert np.ptp(attention) > 0.05
    assert np.abs(embedding[0] - embedding[1]).max() > 0.1


@pytest.mark.matrix
def test_a_difference_is_found(pictures, tmp_path):
    """The comparison itself: other weights, another mean or another image are not within the tolerances."""
    folder = models.make("clip", tmp_path / "clip")
    photos = few(tmp_path / "few", pictures, 2)
    study = embedshift.run(photos, out=tmp_path / "study", model=str(folder))
    found = exactness.differences(study, photos, exactness.eager(folder, "clip", (0.5, 0.46, 0.41), models.STD))
    assert set(exactness.over_tolerance(found)) == {"embedding", "attention"}
    a, b = sorted(photos.iterdir())
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)
    found = exactness.differences(study, photos, exactness.eager(folder, "clip", models.MEAN, models.STD))
    wrong = set(exactness.over_tolerance(found))
    assert {"embedding", "attention", "patch_similarity", "edge_preservation", "detail_preservation"} <= wrong
