"""Failures that are transient are tried again, and images that changed after they were measured are named."""

import itertools
import os
import shutil
import time

import numpy as np
import polars as pl
import pytest
from PIL import Image

import embedshift
from embedshift.pipeline import shard as shard_module
from embedshift.sources.folder import FolderSource
from support.mean_colour import MeanColour
from support.synthetic import write_pictures

pytestmark = pytest.mark.slow

SUITE = {"mirror": lambda image, rng: image[:, ::-1], "dark": lambda image, rng: np.maximum(image // 2, 1)}
LOST, BROKEN = "2.png", "5.png"


@pytest.fixture
def photos(tmp_path):
    """Eight images: one link to a file that is not there yet, and one that is no image."""
    write_pictures(tmp_path / "photos", [f"{n}.png" for n in range(8)], 0)
    shutil.move(tmp_path / "photos" / LOST, tmp_path / "elsewhere.png")
    (tmp_path / "photos" / LOST).symlink_to(tmp_path / "mount" / LOST)
    (tmp_path / "photos" / BROKEN).write_bytes(b"no image")
    return tmp_path / "photos"


def mend(tmp_path):
    (tmp_path / "mount").mkdir()
    shutil.move(tmp_path / "elsewhere.png", tmp_path / "mount" / LOST)


def run(photos, out, **settings):
    return embedshift.run(photos, out=out, model=MeanColour(), augmentations=SUITE, shard_size=3, workers=0, **settings)


def failed(study):
    return {row["image_id"]: row["transient"] for row in study.failures().rows(named=True)}


def reads(monkeypatch):
    """Names of the files that are read from here on."""
    seen, read = [], FolderSource.read
    monkeypatch.setattr(
        FolderSource, "read", lambda self, sample: (seen.append(sample.image_id), read(self, sample))[1]
    )
    return seen


def test_a_finished_study_tries_again_when_it_is_asked_to(tmp_path, photos, monkeypatch):
    study = run(photos, tmp_path / "study")
    assert failed(study) == {LOST: True, BROKEN: False}
    whole = {path: path.read_bytes() for path in study.folder.rglob("*.parquet")}
    run(photos, tmp_path / "study", retry_failed=True)
    assert {path: path.read_bytes() for path in study.folder.rglob("*.parquet")} == whole, "nothing has changed"
    mend(tmp_path)
    assert failed(run(photos, tmp_path / "study")) == {LOST: True, BROKEN: False}, "it is finished"
    before = {path: path.stat().st_mtime_ns for path in (study.folder / "shards").iterdir()}
    seen = reads(monkeypatch)
    again = run(photos, tmp_path / "study", retry_failed=True)
    assert failed(again) == {BROKEN: False}
    measured = [path for path, time in before.items() if path.stat().st_mtime_ns != time]
    assert len(measured) == 1, "the shard of the image that is there now, and no other"
    assert set(seen[:2]) == {LOST, BROKEN}
    whole = run(photos, tmp_path / "whole")
    assert again.rows().collect().equals(whole.rows().collect(), null_equal=True)
    for name in whole.table_names:
        assert again.table(name).equals(whole.table(name), null_equal=True), name
    assert again.info()["counts"] == whole.info()["counts"]
    assert sum(pixels["images"] for pixels in again.info()["pixels"].values()) == 7


def test_a_run_that_goes_on_tries_transient_failures_again(tmp_path, photos, monkeypatch):
    class Stops(MeanColour):
        """By Ctrl-C at the second batch."""

        seen = 0

        def __call__(self, views):
            self.seen += 1
            if self.seen == 2:
                raise KeyboardInterrupt
            return super().__call__(views)

    settings = {"augmentations": SUITE, "shard_size": 4, "workers": 0, "batch_size": 100}
    with pytest.raises(KeyboardInterrupt):
        embedshift.run(photos, out=tmp_path / "study", model=Stops(), **settings)
    mend(tmp_path)
    seen = reads(monkeypatch)
    study = embedshift.run(photos, out=tmp_path / "study", model=MeanColour(), **settings)
    assert failed(study) == {BROKEN: False}
    monkeypatch.undo()
    whole = embedshift.run(photos, out=tmp_path / "whole", model=MeanColour(), **settings)
    assert study.rows().collect().equals(whole.rows().collect(), null_equal=True)
    assert len(seen) < 2 * 8, "images of finished shards that are well are not read again"


def test_an_image_that_changed_since_is_named_and_its_row_kept(tmp_path, photos, caplog):
    mend(tmp_path)
    study = run(photos, tmp_path / "study")
    rows = study.rows().collect()
    Image.new("RGB", (40, 30), "red").save(photos / "1.png")
    (photos / "3.png").touch()
    os.utime(photos / "1.png", (1, 1))
    run(photos, tmp_path / "study")
    words = "1 image changed since the run (first: 1.png); their rows describe the earlier"
    assert words in caplog.text
    assert study.rows().collect().equals(rows, null_equal=True)


def test_a_shard_keeps_its_rows_where_measured_images_would_lose_theirs(tmp_path, photos, caplog, monkeypatch):
    """One that has changed since; and a server that gives the lost image now, and none of the others."""
    study = run(photos, tmp_path / "study")
    rows, failures = study.rows().collect(), study.failures()
    mend(tmp_path)
    shard = next(part for part in study.reader().records if LOST in {each.image_id for each in part.failures})
    ids = pl.read_parquet(study.folder / "shards" / f"part-{shard.index:05d}.parquet")["image_id"].unique().to_list()
    read = FolderSource.read

    def flaky(self, sample):
        if sample.image_id not in (LOST, BROKEN):
            raise OSError("the server does not answer")
        return read(self, sample)

    def is_kept():
        again = run(photos, tmp_path / "study", retry_failed=True)
        return again.rows().collect().equals(rows, null_equal=True) and again.failures().equals(failures)

    with monkeypatch.context() as patch:
        patch.setattr(FolderSource, "read", flaky)
        assert is_kept()
    assert "of its images could not be read again" in caplog.text
    assert "changed" not in caplog.text
    Image.new("RGB", (40, 30), "red").save(photos / ids[0])
    assert is_kept()
    assert f"shard {shard.index} keeps its rows and failures: 1 of its images changed since" in caplog.text
    assert f"(first: {ids[0]})" in caplog.text


class Backwards:
    """`time` whose clock loses an hour each time it is read; intervals are those of the true clock."""

    perf_counter, monotonic = staticmethod(time.perf_counter), staticmethod(time.monotonic)
    hours = itertools.count(1)

    def time(self):
        return time.time() - 3_600 * next(self.hours)


def test_a_clock_that_goes_backwards_changes_nothing(tmp_path, photos, monkeypatch, caplog):
    mend(tmp_path)
    truth = run(photos, tmp_path / "truth")
    monkeypatch.setattr(shard_module, "time", Backwards())
    study = run(photos, tmp_path / "study")
    written = [record.written for record in study.reader().records]
    assert written == sorted(written, reverse=True)
    assert all(seconds >= 0 for record in study.reader().records for seconds in record.seconds.values())
    assert study.rows().collect().equals(truth.rows().collect())
    # Every image now seems to have changed after its shard was measured: their pixels say that none has.
    again = run(photos, study.folder, retry_failed=True)
    assert "changed" not in caplog.text
    assert again.summary().equals(truth.summary())
    Image.new("RGB", (40, 30), "red").save(photos / "4.png")
    run(photos, study.folder)
    assert "1 image changed since the run (first: 4.png)" in caplog.text
    assert not study.verify().damaged
