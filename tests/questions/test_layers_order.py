"""CKA does not depend on what files are called: minibatches are fair samples, whatever the folders are."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import embedshift
from embedshift.questions.layers.measure import CkaSums
from embedshift.sources import FolderSource, ImageRef, select, shuffle, split
from embedshift.statistics.agreement import cka
from support import models
from support.models import SIZE

pytestmark = pytest.mark.slow

CLASSES, EACH, SEEDS = 5, 64, range(10)


def grain(image, rng):
    """Noise that the image itself decides, so that names do not change it."""
    drawn = np.random.default_rng(int(image.sum())).normal(0, 25, image.shape)
    return np.clip(image + drawn, 0, 255).astype(np.uint8)


OWN = {"grain": grain, "dark": lambda image, rng: image // 2}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """320 images in folders of their classes, where those of a class are nearly alike, and under hashed names."""
    by_class, by_hash = tmp_path_factory.mktemp("classes"), tmp_path_factory.mktemp("hashes")
    rng = np.random.default_rng(0)
    for kind in range(CLASSES):
        (by_class / f"class-{kind}").mkdir()
        ground = rng.integers(40, 216, (SIZE, SIZE, 3))
        for number in range(EACH):
            image = Image.fromarray((ground + rng.integers(-4, 5, ground.shape)).astype(np.uint8))
            image.save(by_class / f"class-{kind}" / f"{number:02d}.png")
            image.save(by_hash / f"{hashlib.sha256(f'{kind}/{number}'.encode()).hexdigest()}.png")
    return by_class, by_hash


@pytest.fixture(scope="module")
def encoder():
    return embedshift.wrap(
        models.SmallTransformer(), size=SIZE, mean=models.MEAN, std=models.STD, device="cpu", name="small"
    )


@pytest.fixture(scope="module")
def layers(folders, encoder) -> dict[Path, dict[str, np.ndarray]]:
    """Folder → image id → what every block gives for the original and its views `[3, L, T, W]`."""
    found: dict[Path, dict[str, np.ndarray]] = {}
    for folder in folders:
        samples = FolderSource([str(folder)]).samples
        images = [np.asarray(Image.open(sample.location)) for sample in samples]
        views = np.stack([view for image in images for view in (image, grain(image, None), image // 2)])
        with encoder.observing(["layers"]):
            states = np.concatenate([encoder(views[start : start + 60]).layers for start in range(0, len(views), 60)])
        states = states.reshape(len(samples), 3, *states.shape[1:])
        found[folder] = {sample.image_id: part for sample, part in zip(samples, states, strict=True)}
    return found


def of_order(samples: list[ImageRef], states: dict[str, np.ndarray]) -> np.ndarray:
    """CKA `[A, T, L]` of shards that are cut from an order."""
    terms = 0.0
    for shard in split(samples, EACH):
        sums = CkaSums(draws=1)
        for sample in shard.samples:
            sums.add_layers(states[sample.image_id])
        terms = terms + sums.close()["terms"]
    return cka(terms)


def in_study_order(folder: Path, seed: int) -> list[ImageRef]:
    source = FolderSource([str(folder)])
    return shuffle(select(source.samples, limit=None, sample=None, seed=seed), source, seed=seed)[0]


def agree(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Whether CKA under two names `[seeds, ...]` is the same: to 0.01 where it is above .95, else to chance."""
    error = np.sqrt((one.var(axis=0, ddof=1) + other.var(axis=0, ddof=1)) / len(one))
    high = np.minimum(one.min(axis=0), other.min(axis=0)) > 0.95
    apart = np.abs(one - other).max(axis=0), np.abs(one.mean(axis=0) - other.mean(axis=0))
    return np.where(high, apart[0] < 0.01, apart[1] < 3 * error)


@pytest.mark.matrix
def test_names_do_not_matter_over_ten_seeds(folders, layers):
    by_class, by_hash = (
        np.stack([of_order(in_study_order(folder, seed), layers[folder]) for seed in SEEDS]) for folder in folders
    )
    assert agree(by_class, by_hash).all()
    assert (by_class > 0.95).any(), "the first of the two rules is tried"
    assert (by_class < 0.95).any(), "and the second"


def test_sorted_names_fail_the_same_test(folders, layers):
    found = []
    for folder in folders:
        values = of_order(sorted(FolderSource([str(folder)]).samples), layers[folder])
        found.append(np.stack([values] * len(SEEDS)))
    assert not agree(*found).any()


@pytest.mark.matrix
def test_a_study_gives_what_the_order_gives(folders, layers, encoder, tmp_path):
    for folder in folders:
        study = embedshift.run(
            folder, out=tmp_path / folder.name, model=encoder, augmentations=OWN, layers=True, batch_size=60, workers=0
        )
        table = (
            study.layers().filter(metric="cka").sort("augmentation", "token", "layer", descending=[True, False, False])
        )
        wanted = of_order(in_study_order(folder, 0), layers[folder])
        np.testing.assert_allclose(table["mean"], wanted.ravel(), rtol=1e-4)
        assert study.info()["order"] == "shuffled"
