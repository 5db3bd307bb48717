"""Ray with a worker that is killed and one that is stopped (SIGSTOP): the rows of an undisturbed run."""

import os
import signal
import sys
from pathlib import Path

import pytest
import ray

import embedshift
from embedshift.engines import roll
from support.mean_colour import MeanColour
from support.models import pictures
from support.processes import state

pytestmark = [pytest.mark.slow, pytest.mark.matrix]


class Disturbed(MeanColour):
    """Sends its own process a signal at the first batch that it ever encodes."""

    def __init__(self, number: int, marker: Path) -> None:
        self.number, self.marker = number, marker

    def __call__(self, views):
        if not self.marker.exists():
            self.marker.write_text(str(os.getpid()))
            os.kill(os.getpid(), self.number)
        return super().__call__(views)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    for name in (__name__, MeanColour.__module__):
        ray.cloudpickle.register_pickle_by_value(sys.modules[name])  # their encoders travel whole
    ray.init("local", num_cpus=2, log_to_driver=False, include_dashboard=False, logging_level="ERROR")
    yield
    ray.shutdown()


def run(photos, out, engine, encoder):
    settings = {"shard_size": 2, "batch_size": 10, "workers": 1}
    return embedshift.run(photos, out=out, engine=engine, model=encoder, **settings)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_is_lost_is_replaced(number, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(roll, "WORD", 0.5)
    monkeypatch.setattr(roll, "SILENCE", 45.0)
    photos = pictures(tmp_path / "photos", 6)
    marker = tmp_path / "marker"
    found = run(photos, tmp_path / "ray", "ray", Disturbed(number, marker))
    assert state(int(marker.read_text())) in "XZ"
    whole = run(photos, tmp_path / "local", "local", MeanColour())
    assert found.rows().collect().equals(whole.rows().collect(), null_equal=True)
    assert found.failures().is_empty()
    ended = "a worker of the cluster did not answer for 45 s and was ended"
    assert (ended in caplog.text) == (number == signal.SIGSTOP)
