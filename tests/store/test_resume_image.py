"""Runs that are stopped in the middle of a shard and go on at the image."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from embedshift.encoders.base import EncoderOutput
from embedshift.pipeline import kept
from embedshift.pipeline.kept import KeepingEncoder
from embedshift.steps import run_study
from embedshift.store.reader import Reader
from embedshift.store.shards import SUMS_KEY, kept_path, shard_path
from support import counted, models
from support.counted import BATCH, SHARD, VIEWS, Counted
from support.models import pictures

IMAGES = 2 * SHARD + 1


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = pictures(tmp_path_factory.mktemp("photos"), IMAGES)
    (folder / "picture-03.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory):
    """A study that nothing stopped."""
    out = tmp_path_factory.mktemp("whole") / "study"
    assert counted.run(photos, out, Counted(out.parent / "log")) == (0, IMAGES)
    return out


def contents(out: Path) -> dict[str, object]:
    """All that a study says, but for the time that it took: rows bit for bit, sums and tables byte for byte."""
    found: dict[str, object] = {path.name: path.read_bytes() for path in (out / "tables").iterdir()}
    for path in sorted((out / "shards").iterdir()):
        columns = [column.combine_chunks() for column in pq.read_table(path).columns]
        found[path.name] = [part and part.to_pybytes() for column in columns for part in column.buffers()]
        found[f"sums of {path.name}"] = pq.read_metadata(path).metadata[SUMS_KEY]
    return found


def assert_same(out: Path, whole: Path) -> None:
    ours, theirs = contents(out), contents(whole)
    assert ours.keys() == theirs.keys(), "hidden files too"
    assert [name for name in ours if ours[name] != theirs[name]] == []


def stopped(photos: Path, out: Path, log: Path, batches: int, **settings) -> Counted:
    """A run that Ctrl-C stops after so many batches."""
    with pytest.raises(KeyboardInterrupt):
        counted.run(photos, out, Counted(log, most=batches), every=60.0, **settings)
    return Counted(log)


@pytest.mark.parametrize(("workers", "signal_sent"), [(0, signal.SIGKILL), (2, signal.SIGKILL), (2, signal.SIGTERM)])
def test_killed_in_the_middle_of_a_shard(workers, signal_sent, photos, whole, tmp_path):
    out, encoder = tmp_path / "study", Counted(tmp_path / "log")
    process = subprocess.Popen(
        [sys.executable, "-m", "support.counted", photos, out, encoder.log, str(workers)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), *sys.path]))},
        start_new_session=True,
    )
    try:
        while len(encoder.batches()) < 23:  # of 16 in the first shard
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal_sent)
        process.wait(timeout=30)
    finally:
        process.kill()
    assert shard_path(out, 0).exists()
    assert kept_path(out, 1).exists()
    before = sum(encoder.batches())
    (out / "shards" / ".part-00001.parquet.4242").write_bytes(b"half a shard")
    done, through = counted.run(photos, out, encoder, workers=2 - workers)
    # All but the batch at work, and one that was on its way to the disk.
    in_shard = before - pq.read_metadata(shard_path(out, 0)).num_rows
    assert (in_shard - 2 * BATCH) // VIEWS <= done - SHARD <= in_shard // VIEWS
    assert done + through == IMAGES
    assert 0 <= sum(encoder.batches()) - (IMAGES - 1) * VIEWS <= 2 * BATCH
    assert_same(out, whole)


def test_ctrl_c_loses_no_batch(photos, whole, tmp_path):
    out = tmp_path / "study"
    encoder = stopped(photos, out, tmp_path / "log", 5)
    assert not shard_path(out, 0).exists()
    assert counted.run(photos, out, encoder) == (5 * BATCH // VIEWS, IMAGES - 5 * BATCH // VIEWS)
    assert sum(encoder.batches()) == (IMAGES - 1) * VIEWS
    assert_same(out, whole)


def test_stopped_again_and_again(photos, whole, tmp_path):
    out = tmp_path / "study"
    for batches in (2, 7, 8, 20, 30):
        encoder = stopped(photos, out, tmp_path / "log", batches)
    counted.run(photos, out, encoder)
    assert sum(encoder.batches()) == (IMAGES - 1) * VIEWS
    assert_same(out, whole)


def cut(data: bytes) -> bytes:
    return data[: len(data) * 3 // 5]


def flip(place: float):
    def flipped(data: bytes) -> bytes:
        found = bytearray(data)
        found[int(len(data) * place)] ^= 4
        return bytes(found)

    return flipped


@pytest.mark.parametrize(
    "damage",
    [cut, flip(0.0), flip(0.001), flip(0.5), flip(0.999), lambda data: b"", lambda data: data[::-1], lambda d: d * 2],
)
def test_what_is_damaged_is_encoded_again(damage, photos, whole, tmp_path):
    out, batches = tmp_path / "study", 10
    encoder = stopped(photos, out, tmp_path / "log", batches)
    path = kept_path(out, 0)
    path.write_bytes(damage(path.read_bytes()))
    counted.run(photos, out, encoder)
    again = sum(encoder.batches()) - (IMAGES - 1) * VIEWS
    assert 0 <= again <= batches * BATCH
    assert_same(out, whole)


def test_what_another_study_kept_is_not_taken(photos, whole, tmp_path):
    """Of the same views: only the settings tell the two apart."""
    encoder = stopped(photos, tmp_path / "other", tmp_path / "log", 8, store="metrics")
    out = tmp_path / "study"
    counted_again = stopped(photos, out, tmp_path / "log of it", 0)
    kept_path(out, 0).write_bytes(kept_path(tmp_path / "other", 0).read_bytes())
    assert counted.run(photos, out, counted_again) == (0, IMAGES)
    assert sum(counted_again.batches()) == (IMAGES - 1) * VIEWS
    assert sum(encoder.batches()) == 8 * BATCH
    assert_same(out, whole)


def test_an_image_that_changed_is_encoded_anew(photos, tmp_path):
    images, out = pictures(tmp_path / "photos", SHARD), tmp_path / "study"
    encoder = stopped(images, out, tmp_path / "log", 8)
    pictures(images, SHARD, seed=9)
    stopped(images, out, encoder.log, 8 + 2)
    assert counted.run(images, out, encoder) == (0, SHARD), "what was kept of the images as they were is gone"
    assert sum(encoder.batches()) == 8 * BATCH + SHARD * VIEWS
    counted.run(images, tmp_path / "new", Counted(tmp_path / "log of new"))
    assert_same(out, tmp_path / "new")


def test_a_batch_that_the_memory_does_not_hold(photos, tmp_path):
    first, second = (tmp_path / name for name in ("first", "second"))
    counted.run(photos, first, Counted(tmp_path / "log", memory=9))
    with pytest.raises(KeyboardInterrupt):
        counted.run(photos, second, Counted(tmp_path / "log of it", memory=9, most=8))
    encoder = Counted(tmp_path / "log of it", memory=9)
    counted.run(photos, second, encoder)
    assert sum(encoder.batches()) == (IMAGES - 1) * VIEWS
    assert_same(second, first)


def test_a_shard_that_is_fast_never_reaches_the_disk(photos, whole, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(KeepingEncoder, "_append", lambda self: written.append(self))
    counted.run(photos, tmp_path / "study", Counted(tmp_path / "log"), every=60.0)
    assert written == []


def test_outputs_come_back_as_they_were(tmp_path):
    """Every array that an encoder can give: its type, its shape, its bits and its order in memory."""
    rng = np.random.default_rng(0)
    views = rng.integers(0, 256, (2, 3, 8, 8, 3), dtype=np.uint8)
    embedding = rng.normal(size=(3, 5)).astype(np.float32)
    embedding[0, :3] = np.nan, -0.0, np.inf
    layers = rng.normal(size=(3, 4, 2, 5)).astype(np.float32)
    outputs = [
        EncoderOutput(embedding, None, None),
        EncoderOutput(
            embedding[::-1].T.copy().T,
            rng.random((3, 2, 2), np.float32),
            "cls",
            {"layers": layers, "tokens": layers[:, 0]},
        ),
    ]

    class Given(Counted):
        def __call__(self, given):
            output = outputs[[given.tobytes() == each.tobytes() for each in views].index(True)]
            self.dim, self.grid = 5, None if output.attention is None else (2, 2)
            return output

    path = tmp_path / ".part-00000.kept"
    first = KeepingEncoder(Given(tmp_path / "log"), path, "hash")
    fresh = [first(each) for each in views]
    first.write()
    first.close()
    again = KeepingEncoder(Counted(tmp_path / "log"), path, "hash")
    for given, new, wanted in zip(views, fresh, outputs, strict=True):
        found = again(given)
        assert found.attention_kind == new.attention_kind == wanted.attention_kind
        assert list(found.arrays()) == list(new.arrays()) == list(wanted.arrays())
        for name, array in wanted.arrays().items():
            for taken in (found.arrays()[name], new.arrays()[name]):
                assert (taken.dtype, taken.shape, taken.tobytes()) == (array.dtype, array.shape, array.tobytes())
                assert taken.flags.c_contiguous
    again.close()
    assert Counted(tmp_path / "log").batches() == []


@pytest.mark.slow
def test_processes_of_several_devices_take_what_was_kept(photos, tmp_path):
    clip = str(models.make("clip", tmp_path / "clip"))
    settings = {"model": clip, "layers": True}
    for device in ("cpu", "cpu,cpu"):
        run_study(counted.config(photos, device=device, **settings), tmp_path / f"whole {device}")
    out, seen = tmp_path / "study", []

    def stop(count):
        seen.append(count)
        if len(seen) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(counted.config(photos, device="cpu", **settings), out, progress=stop)
    assert kept_path(out, 0).exists()
    starts = []
    run_study(counted.config(photos, device="cpu,cpu", **settings), out, on_start=starts.append)
    assert starts[0].done in (2, 3)
    assert_same(out, tmp_path / "whole cpu")
    assert_same(tmp_path / "whole cpu,cpu", tmp_path / "whole cpu")


@pytest.mark.parametrize("kind", ["full disk", "link", "FIFO", "folder"])
def test_a_file_that_cannot_be_kept_costs_nothing_but_itself(photos, whole, tmp_path, kind, monkeypatch):
    monkeypatch.setattr(kept, "EVERY", 0.0)
    out, other = tmp_path / "study", tmp_path / "other"
    (out / "shards").mkdir(parents=True)
    path = out / "shards" / ".part-00000.kept"
    other.write_text("somebody's")
    {"FIFO": os.mkfifo, "folder": os.mkdir}.get(kind, lambda path: path.symlink_to(other))(path)
    if kind == "full disk":  # which says the same of every write as this device
        monkeypatch.setattr(kept, "_opened", lambda _: Path("/dev/full").open("r+b", buffering=0))  # noqa: SIM115
    study = run_study(counted.config(photos), out, encoder=Counted(tmp_path / "log"))
    assert study.rows().collect().equals(Reader(whole).rows().collect(), null_equal=True)
    assert other.read_text() == "somebody's"
