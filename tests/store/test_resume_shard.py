"""Runs that are stopped in the middle of a shard: the next run measures that shard again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from embedshift.runner import run_study
from embedshift.store.shards import SUMS_KEY, shard_path
from support import counted, models
from support.counted import SHARD, VIEWS, Counted
from support.matrix import first_only
from support.models import pictures

pytestmark = pytest.mark.slow

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
    """All content of a study except times: rows bit for bit, sums and tables byte for byte."""
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
        counted.run(photos, out, Counted(log, most=batches), **settings)
    return Counted(log)


@pytest.mark.parametrize(
    ("workers", "signal_sent"), first_only([(0, signal.SIGKILL), (2, signal.SIGKILL), (2, signal.SIGTERM)])
)
def test_killed_in_the_middle_of_a_shard(workers, signal_sent, photos, whole, tmp_path):
    out, encoder = tmp_path / "study", Counted(tmp_path / "log")
    process = subprocess.Popen(
        [sys.executable, "-m", "support.counted", photos, out, encoder.log, str(workers)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), *sys.path]))},
        start_new_session=True,
    )
    try:
        while len(encoder.batches()) < 23:  # the first shard has 13 or 15
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal_sent)
        process.wait(timeout=30)
    finally:
        process.kill()
    assert shard_path(out, 0).exists()
    assert not shard_path(out, 1).exists()
    in_first_shard = pq.read_metadata(shard_path(out, 0)).num_rows
    before = sum(encoder.batches())
    (out / "shards" / ".part-00001.parquet.4242").write_bytes(b"half a shard")
    assert counted.run(photos, out, encoder, workers=2 - workers) == (SHARD, IMAGES - SHARD)
    assert sum(encoder.batches()) - before == (IMAGES - 1) * VIEWS - in_first_shard, "the other shards, each once"
    assert_same(out, whole)


@pytest.mark.matrix
def test_stopped_again_and_again(photos, whole, tmp_path):
    """Each run that finishes a shard leaves one less to the next; a run that finishes none leaves nothing."""
    out = tmp_path / "study"
    for batches in (2, 9, 30, 45):
        encoder = stopped(photos, out, tmp_path / "log", batches)
    assert shard_path(out, 0).exists()
    assert counted.run(photos, out, encoder)[0] >= SHARD
    assert_same(out, whole)


@pytest.mark.matrix
def test_an_image_of_an_unfinished_shard_that_changed_is_measured_as_it_is_now(tmp_path):
    images, out = pictures(tmp_path / "photos", SHARD), tmp_path / "study"
    encoder = stopped(images, out, tmp_path / "log", 8)
    pictures(images, SHARD, seed=9)
    assert counted.run(images, out, encoder) == (0, SHARD)
    counted.run(images, tmp_path / "new", Counted(tmp_path / "log of new"))
    assert_same(out, tmp_path / "new")


@pytest.mark.matrix
def test_a_batch_that_the_memory_does_not_hold(photos, tmp_path):
    first, second = (tmp_path / name for name in ("first", "second"))
    counted.run(photos, first, Counted(tmp_path / "log", memory=1))
    with pytest.raises(KeyboardInterrupt):
        counted.run(photos, second, Counted(tmp_path / "log of it", memory=1, most=8))
    counted.run(photos, second, Counted(tmp_path / "log of it", memory=1))
    assert_same(second, first)


@pytest.mark.matrix
def test_processes_of_several_devices_continue_what_one_began(photos, tmp_path):
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
    run_study(counted.config(photos, device="cpu,cpu", **settings), out)
    assert_same(out, tmp_path / "whole cpu")
    assert_same(tmp_path / "whole cpu,cpu", tmp_path / "whole cpu")
