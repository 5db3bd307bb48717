"""A shard is written while the next one is measured; an error of the writing ends the run, and loses no other shard."""

import threading

import pytest

import embedshift
from embedshift import EmbedshiftError
from embedshift.store import shards as shard_files
from embedshift.store.reader import Reader
from embedshift.store.shards import write_shard
from support import ASKED
from support.mean_colour import MeanColour
from support.synthetic import write_pictures


class Stopped(MeanColour):
    """Calls something at each batch."""

    def __init__(self, at_batch):
        self.at_batch, self.batches = at_batch, 0

    def __call__(self, views):
        self.batches += 1
        self.at_batch(self.batches - ASKED)
        return super().__call__(views)


@pytest.fixture
def photos(tmp_path):
    write_pictures(tmp_path / "photos", [f"{n}.png" for n in range(4)], 0)
    return tmp_path / "photos"


def run(photos, out, encoder):
    settings = {"families": ["noise"], "shard_size": 1, "batch_size": 2, "workers": 0}
    return embedshift.run(photos, out=out, model=encoder, **settings)


def shards(out):
    return sorted(path.name for path in (out / "shards").glob("part-*.parquet"))


@pytest.mark.slow
def test_a_shard_is_written_while_later_ones_are_encoded(photos, tmp_path, monkeypatch):
    encoding = threading.Event()

    def slowly(folder, table, record):
        # The first shard is handed over before the second is encoded, which does not wait for it.
        assert record.index > 0 or encoding.wait(30), "the run waits for the shard to be written"
        return write_shard(folder, table, record)

    monkeypatch.setattr(shard_files, "write_shard", slowly)
    study = run(photos, tmp_path / "study", Stopped(lambda batch: encoding.set() if batch == 2 else None))
    assert len(shards(tmp_path / "study")) == 4
    assert study.info()["counts"]["measured"] == 4


def full_at(index):
    """A disk that does not hold one of the shards."""

    def write(folder, table, record):
        if record.index == index:
            raise EmbedshiftError(f"part-{index:05d}.parquet: cannot be written")
        return write_shard(folder, table, record)

    return write


@pytest.mark.parametrize("index", [1, 3])
def test_a_shard_that_cannot_be_written_ends_the_run_with_its_line(index, photos, tmp_path, monkeypatch):
    """Also the last, after which no shard comes."""
    monkeypatch.setattr(shard_files, "write_shard", full_at(index))
    with pytest.raises(EmbedshiftError, match=f"part-0000{index}"):
        run(photos, tmp_path / "study", MeanColour())
    assert "part-00000.parquet" in shards(tmp_path / "study")
    assert not Reader(tmp_path / "study").is_complete()
    monkeypatch.undo()
    assert len(run(photos, tmp_path / "study", MeanColour()).rows().collect()) == 8


def test_a_shard_that_is_being_written_when_a_run_is_stopped_is_there(photos, tmp_path):
    def stop(batch):
        if batch == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path / "study", Stopped(stop))
    assert len(shards(tmp_path / "study")) >= 2
    assert not [path for path in (tmp_path / "study" / "shards").iterdir() if path.suffix != ".parquet"]
