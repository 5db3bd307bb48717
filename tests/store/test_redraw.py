"""Images drawn again from a study: the views, maps and numbers that were measured, and why others are missing."""

import numpy as np
import polars as pl
import pytest
from PIL import Image

import embedshift
from embedshift.errors import EmbedshiftError
from embedshift.sources import ImageRef, Shard, images, remember_roots
from embedshift.store.redraw import redraw
from embedshift.store.resume import changed_images, measured_pixels
from embedshift.store.shards import Failure, ShardRecord
from support import studies
from support.revised import say_identity

NAMES = ["noise", "blur"]


@pytest.fixture(scope="module")
def study():
    return studies.synthetic(4, NAMES, with_pictures=True)


def original_of(study, image_id):
    return np.asarray(Image.open(study.folder / "pictures" / image_id).convert("RGB"))


@pytest.mark.slow
def test_views_maps_and_numbers_are_those_that_were_measured(study):
    remember_roots(study.info()["source"])
    ids = sorted(study.reader().image_ids())[:2]
    found, missing = redraw(study.reader(), ids)
    assert missing == {}
    assert [each.image_id for each in found] == ids
    rows = study.rows().collect()
    for each in found:
        pixels = original_of(study, each.image_id)
        expected = embedshift.make_views(pixels, image_id=each.image_id, size=32, augmentations="paper")
        assert list(each.views) == ["original", *NAMES]
        for name, view in each.views.items():
            np.testing.assert_array_equal(view, expected[name])
        own = rows.filter(image_id=each.image_id)
        for row in own.iter_rows(named=True):
            np.testing.assert_array_equal(each.attention[row["view"]].ravel(), np.float32(row["attention"]))
        values = own.filter(view="blur")["cosine_similarity"].item()
        assert each.metrics["blur"]["cosine_similarity"] == values
        assert set(each.metrics) == {*NAMES}
        assert each.missing == {}


def test_an_image_that_is_not_in_the_study_is_refused(study):
    with pytest.raises(EmbedshiftError, match="no-such: no such image"):
        redraw(study.reader(), ["no-such"])


@pytest.mark.slow
def test_a_crop_is_that_of_the_encoder(tmp_path):
    """The shortest side is brought to 40 pixels before the middle is cut out: as Pillow does it step by step."""
    study = studies.copied(studies.synthetic(4, NAMES, with_pictures=True), tmp_path / "study")
    content = study.info()
    content["identity"]["resize"], content["encoder"]["shortest"] = "crop", 40
    say_identity(study.folder, content)
    reader, info = study.reader(), study.reader().info
    image_id = min(reader.image_ids())
    (found,), _ = redraw(reader, [image_id])
    picture = Image.fromarray(original_of(study, image_id))
    scale = 40 / min(picture.size)
    whole = picture.resize(tuple(int(side * scale) for side in picture.size), Image.Resampling(info.encoder.resample))
    left, top = ((side - 32) // 2 for side in whole.size)
    np.testing.assert_array_equal(found.views["original"], np.asarray(whole.crop((left, top, left + 32, top + 32))))


def test_only_files_that_the_system_changed_later_are_looked_at(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (3, 3)).save(path)
    samples = (
        ImageRef("a.png", str(path)),
        ImageRef("in-archive.png", str(path), archive="a.tar"),
        ImageRef("gone.png", str(tmp_path / "gone.png")),
    )
    cut = [Shard(0, samples), Shard(1, samples)]
    time = path.stat().st_ctime
    for written, expected in ((time - 1, ["a.png"]), (time + 1, [])):
        record = ShardRecord(0, "", 3, (Failure("b", "read", ""),), 8, {}, written)
        assert [each.image_id for each in changed_images(cut, {0: record})] == expected


def test_pixels_that_were_measured(study):
    ids = sorted(study.reader().image_ids())
    found = measured_pixels(study.folder, {0}, ids[:2])
    stored = study.rows().filter(pl.col("pixels").is_not_null()).collect()
    assert found == {
        row["image_id"]: row["pixels"] for row in stored.iter_rows(named=True) if row["image_id"] in ids[:2]
    }
    assert found[ids[0]] == images.pixels_hash(original_of(study, ids[0]))
    assert measured_pixels(study.folder, set(), ids) == measured_pixels(study.folder, {0}, []) == {}
