"""Shards that are damaged, lost, or of other pixels: `repair` measures damaged ones again, and touches nothing else."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from torch import nn

import embedshift
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.store.files import with_checksum
from embedshift.store.info import read_info
from embedshift.store.shards import shard_path
from embedshift.store.table import table_path
from support import ASKED, studies
from support.models import Colours

pytestmark = pytest.mark.slow


IMAGES, SHARD = 6, 2


@pytest.fixture(scope="module")
def whole():
    settings = {"families": ["noise", "blur"], "shard_size": SHARD}
    return studies.measured(studies.pictures(IMAGES), Colours(), **settings)


def run(out, encoder=None, **settings):
    given = {"families": ["noise", "blur"], "shard_size": SHARD, "workers": 0} | settings
    return embedshift.run(studies.pictures(IMAGES), out=out, model=encoder or Colours(), **given)


@pytest.fixture
def out(whole, tmp_path):
    return shutil.copytree(whole.folder, tmp_path / "study")


def states(out):
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in (out / "shards").iterdir()}


def test_damaged_shards_are_measured_again_and_nothing_else(whole, out, caplog):
    path = shard_path(out, 1)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    before = states(out)
    with pytest.raises(EmbedshiftError, match=r"part-00001\.parquet: damaged .* run the study again with `repair`"):
        run(out)
    assert states(out) == before
    encoder = Colours()
    study = run(out, encoder, repair=True)
    assert f"{path}: damaged" in caplog.text
    assert sum(map(len, encoder.batches[ASKED:])) == SHARD * (1 + len(study.augmentations))
    after = states(out)
    assert {name for name in before if before[name] != after[name]} == {"part-00001.parquet"}
    for table in sorted((whole.folder / "tables").iterdir()):
        assert (out / "tables" / table.name).read_bytes() == table.read_bytes(), table.name
    assert study.rows().collect().equals(whole.rows().collect(), null_equal=True)
    encoder = Colours()
    run(out, encoder, repair=True)
    assert (states(out), encoder.batches[ASKED:]) == (after, []), "of a whole study nothing is measured"


def test_repair_deletes_no_file_of_others(out):
    foreign = out / "shards" / "part-1.parquet"
    foreign.write_bytes(b"somebody's")
    shard_path(out, 1).write_bytes(shard_path(out, 1).read_bytes()[:-900])
    before = states(out)
    with pytest.raises(EmbedshiftError, match=r"part-1.parquet: not part of this study"):
        run(out, repair=True)
    assert states(out) == before
    foreign.unlink()
    with pytest.raises(EmbedshiftError, match="contains another study: seed: 0 there, 1 now"):
        run(out, repair=True, seed=1)
    assert shard_path(out, 1).exists()


def test_a_shard_of_another_version_is_not_damage(out):
    path = shard_path(out, 0)
    table = pq.read_table(path)
    said = json.dumps(with_checksum(json.loads(table.schema.metadata[b"embedshift"]) | {"schema_version": 3}))
    pq.write_table(table.replace_schema_metadata({b"embedshift": said}), path)
    (out / "study.json").unlink()
    with pytest.raises(EmbedshiftError, match=r"written with schema 3, this embedshift reads 8"):
        run(out, repair=True)
    assert path.exists()


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
        given = {"model": encoder, "augmentations": CHANGES, "workers": 0, "shard_size": 3, **settings}
        return embedshift.run(images, out=out, progress=progress, **given)
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


def test_a_shard_that_is_measured_again_has_the_same_pixels(images, tmp_path):
    study = measure(images, tmp_path / "study")
    rows, path = study.rows().collect(), shard_path(study.folder, 1)
    kept = shutil.copytree(images, tmp_path / "kept")
    path.write_bytes(path.read_bytes()[:-1])
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
