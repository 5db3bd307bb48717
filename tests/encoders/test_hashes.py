"""Perceptual hashes as encoders: their bits are ImageHash's own, the cosine is their distance, and ties are misses."""

import sys
from types import SimpleNamespace

import imagehash
import numpy as np
import pytest
from PIL import Image
from skimage import data

import embedshift
from embedshift.errors import EmbedshiftError, MissingExtra, UsageError

PHOTO = data.astronaut()
FUNCTIONS = {"phash": imagehash.phash, "dhash": imagehash.dhash, "whash": imagehash.whash}

IMAGES = np.stack([PHOTO[top : top + 96, left : left + 96] for top in (0, 120, 300) for left in (60, 200, 380)])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_bits_are_those_of_imagehash_and_the_cosine_is_their_distance(name):
    images = IMAGES
    encoder = embedshift.load_encoder(f"hash:{name}")
    vectors = encoder(images).embedding
    hashes = [FUNCTIONS[name](Image.fromarray(image)) for image in images]
    assert vectors.shape == (len(images), 64)
    np.testing.assert_array_equal(vectors, [np.where(each.hash.ravel(), 1, -1) for each in hashes])
    for one, first in zip(vectors, hashes, strict=True):
        for other, second in zip(vectors, hashes, strict=True):
            assert one @ other / 64 == 1 - 2 * (first - second) / 64


def test_a_study_of_a_hash_finds_what_a_loop_over_distances_finds(tmp_path):
    images = IMAGES
    folder = tmp_path / "images"
    folder.mkdir()
    for place, image in enumerate([*images, images[0]]):  # a copy: its distances are ties, which count against
        Image.fromarray(image).save(folder / f"{place:02}.png")
    study = embedshift.run(
        folder,
        out=tmp_path / "study",
        model="hash:dhash",
        augmentations={"dark": lambda image, rng: image // 2},
        size=96,
        workers=0,
    )
    found = dict(study.table("search_ranks").select("image_id", "rank").iter_rows())
    originals = [imagehash.dhash(Image.fromarray(image)) for image in [*images, images[0]]]
    assert study.info()["encoder"]["name"] == "hash:dhash"
    for place in (0, len(images)):
        assert found[f"{place:02}.png"] >= 2
    vectors = study.rows().select("image_id", "view", "embedding").collect()
    for row in vectors.filter(view="original").iter_rows(named=True):
        own = originals[int(row["image_id"][:2])]
        np.testing.assert_array_equal(row["embedding"], np.where(own.hash.ravel(), 1, -1))
    for row in vectors.filter(view="dark").iter_rows(named=True):
        place, bits = int(row["image_id"][:2]), np.array(row["embedding"]) > 0
        distances = [int((bits != each.hash.ravel()).sum()) for each in originals]
        closer = sum(d <= distances[place] for k, d in enumerate(distances) if k != place)
        assert found[row["image_id"]] == 1 + closer


def test_pdq_has_256_bits_of_its_package(monkeypatch):
    bits = np.arange(256) % 3 == 0
    monkeypatch.setitem(sys.modules, "pdqhash", SimpleNamespace(compute=lambda pixels: (bits.astype(int), 100)))
    monkeypatch.setattr("importlib.metadata.version", lambda package: "0.2.8")
    encoder = embedshift.load_encoder("hash:pdq")
    np.testing.assert_array_equal(encoder(IMAGES[:1]).embedding[0], np.where(bits, 1, -1))
    assert encoder.weights_hash == "hash:pdq pdqhash 0.2.8"


def test_what_is_missing_or_unknown_is_one_line(monkeypatch):
    with pytest.raises(UsageError, match="unknown hash 'phsh'; did you mean 'phash'"):
        embedshift.load_encoder("hash:phsh")
    with pytest.raises(UsageError, match="`precision` bfloat16: hash:phash has its own"):
        embedshift.load_encoder("hash:phash", precision="bfloat16")
    monkeypatch.setitem(sys.modules, "imagehash", None)
    with pytest.raises(MissingExtra, match="needs the extra 'hash'"):
        embedshift.load_encoder("hash:phash")
    monkeypatch.setitem(sys.modules, "pdqhash", None)
    with pytest.raises(EmbedshiftError, match="pip install pdqhash"):
        embedshift.load_encoder("hash:pdq")
