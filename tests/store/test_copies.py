"""The hash of an image's pixels, and exact copies among the images of a study."""

import hashlib
import logging

import numpy as np
import polars as pl
import pytest
from PIL import Image

import embedshift
from embedshift.sources.images import decode, pixels_hash
from embedshift.store.grouping import copies, copies_line
from support.mean_colour import MeanColour
from support.models import pictures
from support.synthetic import make_study

SUITE = {"dark": lambda image, rng: image // 2}


def expected(pixels: np.ndarray) -> str:
    """By the definition, row by row in Python."""
    step = max(1, -(-pixels.shape[0] // 128))
    rows = b"".join(bytes(pixels[row].reshape(-1).tolist()) for row in range(0, pixels.shape[0], step))
    return hashlib.blake2b(str(tuple(pixels.shape)).encode() + rows, digest_size=16).hexdigest()


@pytest.mark.parametrize("shape", [(1, 1, 3), (127, 5, 3), (128, 5, 3), (129, 5, 3), (700, 3, 3)])
def test_the_hash_is_over_shape_and_rows(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert pixels_hash(pixels) == expected(pixels)
    changed = pixels.copy()
    changed[0, 0, 2] ^= 1
    assert pixels_hash(changed) != pixels_hash(pixels)
    assert pixels_hash(pixels[:, ::-1]) == expected(pixels[:, ::-1])


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Ten images; three repeat the pixels of another in another file, and one can not be read."""
    folder = pictures(tmp_path_factory.mktemp("copies") / "photos", 7)
    Image.open(folder / "picture-00.png").save(folder / "again.bmp")
    Image.open(folder / "picture-00.png").save(folder / "and-again.tiff")
    Image.open(folder / "picture-03.png").save(folder / "third.png", compress_level=0)
    (folder / "picture-06.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def study(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("copies") / "study"
    return embedshift.run(photos, out=out, model=MeanColour(), augmentations=SUITE, workers=0, shard_size=4)


@pytest.mark.slow
def test_the_original_s_row_alone_holds_the_hash_of_the_decoded_image(study, photos):
    rows = study.rows().collect()
    assert rows.filter(pl.col("view") != "original")["pixels"].null_count() == 9
    found = dict(rows.filter(view="original").select("image_id", "pixels").iter_rows())
    assert len(found) == 9
    for name, hashed in found.items():
        assert hashed == expected(np.asarray(Image.open(photos / name).convert("RGB")))
        assert hashed == pixels_hash(decode((photos / name).read_bytes()))


@pytest.mark.slow
def test_copies_are_counted_and_named_in_log_and_report(photos, study, tmp_path, caplog):
    words = "repeat the pixels of another; intervals treat all of them as independent images and are too narrow"
    assert copies(study.reader()) == 3
    with caplog.at_level(logging.WARNING, logger="embedshift"):
        embedshift.run(photos, out=tmp_path / "s", model=MeanColour(), augmentations=SUITE, workers=0, draws=2)
    assert [record.message for record in caplog.records] == [f"3 images {words}"]
    caplog.clear()
    asked = {"model": MeanColour(), "augmentations": SUITE, "workers": 0}
    with caplog.at_level(logging.WARNING, logger="embedshift"):
        embedshift.run(photos, out=tmp_path / "grouped", groups="near", **asked)
    assert not [record.message for record in caplog.records if words in record.message], "they are in one group"
    study.report(figures=[])
    assert words in (study.folder / "report.html").read_text()


def test_nothing_is_found_where_all_images_differ(tmp_path):
    assert copies(make_study(tmp_path / "study", 12, ["noise", "blur"], shard_size=5).reader()) == 0
    words = (
        "1 image repeats the pixels of another; intervals treat all of them as independent images and are too narrow"
    )
    assert copies_line(1) == words
