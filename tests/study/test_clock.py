"""A clock that goes backwards while a study is measured, and between its runs, changes nothing."""

import itertools
import time

import numpy as np
import pytest
from PIL import Image
from torch import nn

import embedshift
from embedshift.pipeline import shard as shard_module

pytestmark = pytest.mark.slow
HOUR = 3_600.0


class Backwards:
    """`time` whose clock loses an hour each time it is read; intervals are those of the true clock."""

    perf_counter, monotonic = staticmethod(time.perf_counter), staticmethod(time.monotonic)

    def __init__(self):
        self._hours = itertools.count(1)

    def time(self):
        return time.time() - HOUR * next(self._hours)


def measure(photos, out, **settings):
    encoder = embedshift.wrap(nn.Flatten(), size=8, mean=(0.5,) * 3, std=(0.5,) * 3, name="pixels")
    changes = {"dark": lambda image, rng: image // 2, "mirror": lambda image, rng: image[:, ::-1]}
    settings |= {"workers": 0, "shard_size": 3, "augmentations": changes}
    return embedshift.run(photos, out=out, model=encoder, **settings)


def test_a_clock_that_goes_backwards(tmp_path, monkeypatch, caplog):
    rng, photos = np.random.default_rng(0), tmp_path / "photos"
    photos.mkdir()
    for number in range(9):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(photos / f"{number}.png")
    truth = measure(photos, tmp_path / "truth")
    monkeypatch.setattr(shard_module, "time", Backwards())
    study = measure(photos, tmp_path / "study")
    written = [record.written for record in study.reader().records]
    assert written == sorted(written, reverse=True)
    assert all(seconds >= 0 for record in study.reader().records for seconds in record.seconds.values())
    assert study.rows().collect().equals(truth.rows().collect())
    # Every image now seems to have changed after its shard was measured: their pixels say that none has.
    again = measure(photos, study.folder, retry_failed=True)
    assert "changed" not in caplog.text
    assert again.summary().equals(truth.summary())
    Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(photos / "4.png")
    measure(photos, study.folder)
    assert "1 images have changed since they were measured (first: 4.png)" in caplog.text
    assert not study.verify().damaged
