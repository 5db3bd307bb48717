"""A study holds the pixels with which it began: no shard of other images is taken for its own."""

import shutil

import numpy as np
import pytest
from PIL import Image
from torch import nn

import embedshift
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.store.info import read_info
from embedshift.store.shards import shard_path
from embedshift.store.table import table_path
from support.matrix import first_only

pytestmark = pytest.mark.slow
CHANGES = {"dark": lambda image, rng: image // 2, "mirror": lambda image, rng: image[:, ::-1]}


class Stop(Exception):
    """Ends a run in its middle."""


def write_images(folder, seed):
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(9):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


def measure(images, out, until=None, **settings):
    encoder = embedshift.wrap(nn.Flatten(), size=8, mean=(0.5,) * 3, std=(0.5,) * 3, name="pixels")
    counted = []

    def progress(count):
        counted.append(count)
        if until is not None and sum(counted) >= until:
            raise Stop

    try:
        return embedshift.run(
            images,
            out=out,
            model=encoder,
            augmentations=CHANGES,
            workers=0,
            shard_size=3,
            progress=progress,
            **settings,
        )
    except Stop:
        return embedshift.load(out)


@pytest.fixture
def images(tmp_path):
    return write_images(tmp_path / "images", 1)


@pytest.fixture
def twin(tmp_path):
    """A study with the same names and settings, of other pixels."""
    return measure(write_images(tmp_path / "other", 2), tmp_path / "twin")


def test_a_shard_of_a_twin_in_an_unfinished_study(images, twin, tmp_path):
    study = measure(images, tmp_path / "study", until=6)
    assert not study.info()["complete"]
    last = shard_path(study.folder, 2)
    assert not last.exists()
    shutil.copy(shard_path(twin.folder, 2), last)
    copied = last.read_bytes()
    for settings in ({}, {"repair": True}):
        with pytest.raises(UsageError, match=r"part-00002\.parquet: a shard of another study; move it elsewhere"):
            measure(images, study.folder, **settings)
    with pytest.raises(UsageError, match="a shard of another study"):
        study.report(figures=[])
    assert "a shard of another study" in study.verify().damaged[0].problem
    assert last.read_bytes() == copied, "the file of somebody else is left"
    last.unlink()
    assert not measure(images, study.folder).verify().damaged


@pytest.mark.matrix
def test_a_shard_of_a_twin_in_a_finished_study(images, twin, tmp_path):
    study = measure(images, tmp_path / "study")
    shutil.copy(shard_path(twin.folder, 1), shard_path(study.folder, 1))
    for settings in ({}, {"repair": True}):
        with pytest.raises(UsageError, match="a shard of another study; move it elsewhere"):
            measure(images, study.folder, **settings)
    with pytest.raises(UsageError, match="a shard of another study"):
        study.report(figures=[])
    assert "a shard of another study" in study.verify().damaged[0].problem


@pytest.mark.matrix
def test_shards_of_two_studies_without_study_json(images, twin, tmp_path):
    study = measure(images, tmp_path / "study")
    rows = study.rows().collect()
    (study.folder / "study.json").unlink()
    own = shard_path(study.folder, 1).read_bytes()
    shutil.copy(shard_path(twin.folder, 1), shard_path(study.folder, 1))
    with pytest.raises(UsageError, match=r"part-00000.*part-00001.*: shards of two studies with equal settings"):
        measure(images, study.folder)
    shard_path(study.folder, 1).write_bytes(own)
    again = measure(images, study.folder)
    assert again.rows().collect().equals(rows)
    assert not again.verify().damaged


@pytest.mark.parametrize("damage", first_only(["lost", "damaged"]))
def test_a_shard_that_is_measured_again_has_the_same_pixels(damage, images, tmp_path):
    study = measure(images, tmp_path / "study")
    rows, path = study.rows().collect(), shard_path(study.folder, 1)

    def harm():
        if damage == "lost":
            path.unlink(missing_ok=True)
        elif path.exists():
            path.write_bytes(path.read_bytes()[:-1])

    kept = shutil.copytree(images, tmp_path / "kept")
    harm()
    write_images(images, 3)
    for _ in range(2):  # and it stays so
        with pytest.raises(UsageError, match=r"part-00001\.parquet: its images have other pixels than when the study"):
            measure(images, study.folder, repair=True)
    shutil.copytree(kept, images, dirs_exist_ok=True)
    assert measure(images, study.folder, repair=True).rows().collect().equals(rows)
    assert not study.verify().damaged
    assert table_path(study.folder, "summary").is_file()


@pytest.mark.matrix
def test_a_shard_with_fewer_images_than_at_first_is_said(images, tmp_path, caplog):
    study = measure(images, tmp_path / "study")
    ids = study.rows().collect()["image_id"].unique(maintain_order=True).to_list()
    shard_path(study.folder, 1).unlink()
    (images / ids[4]).write_bytes(b"no image")
    measure(images, study.folder)
    assert "part-00001.parquet: 2 images measured, at first 3; whether they have the same pixels" in caplog.text
    assert [pixels.images for pixels in read_info(study.folder).pixels.values()] == [3, 2, 3]


@pytest.mark.matrix
def test_images_that_failed_at_first_may_come_later(images, tmp_path):
    whole = (images / "4.png").read_bytes()
    (images / "4.png").unlink()
    (images / "4.png").symlink_to(tmp_path / "gone.png")
    study = measure(images, tmp_path / "study")
    assert study.failures()["image_id"].to_list() == ["4.png"]
    (tmp_path / "gone.png").write_bytes(whole)
    assert measure(images, study.folder, retry_failed=True).failures().is_empty()
    assert sum(pixels.images for pixels in read_info(study.folder).pixels.values()) == 9


@pytest.mark.matrix
def test_two_runs_of_one_study_have_equal_rows_and_pixels_and_ids_of_their_own(images, tmp_path):
    one, two = (measure(images, tmp_path / name) for name in ("one", "two"))
    first, second = read_info(one.folder), read_info(two.folder)
    assert first.pixels == second.pixels
    assert first.study_id != second.study_id
    assert one.reader().measured_checksum() == two.reader().measured_checksum()
    shutil.copy(shard_path(two.folder, 0), shard_path(one.folder, 0))
    with pytest.raises(EmbedshiftError, match="a shard of another study"):
        embedshift.load(one.folder).rows()
