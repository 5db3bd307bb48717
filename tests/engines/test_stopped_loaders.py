"""A loader that is stopped (SIGSTOP) is ended and replaced; whoever ends the run leaves no stopped process behind."""

import os
import signal
import time

import numpy as np
import pytest
from PIL import Image

import embedshift
from embedshift.config import make_config
from embedshift.engines import loaders
from embedshift.engines.loaders import Images, draw_all
from embedshift.pipeline.draw import draw_image
from embedshift.pipeline.prepare import prepared
from support import command
from support.matrix import first_only
from support.mean_colour import MeanColour
from support.models import pictures
from support.processes import children, group_is_gone

pytestmark = pytest.mark.slow

COUNT = 6


def stop():
    os.kill(os.getpid(), signal.SIGSTOP)


class Stops:
    """An augmentation whose process is stopped at the marked image, as often as it may be."""

    def __init__(self, tries, folder):
        self.tries, self.folder = tries, folder

    def __call__(self, image, rng):
        if image[0, 0].tolist() == [1, 2, 3]:
            tried = len(list(self.folder.iterdir()))
            if tried < self.tries:
                (self.folder / str(tried)).touch()
                stop()
        return image[:, ::-1]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.setattr(loaders, "GRACE", 0.0)
    monkeypatch.setattr(loaders, "PATIENCE", 1.0)
    photos = pictures(tmp_path / "photos", COUNT, width=32, height=32)
    marked = sorted(photos.iterdir())[2]
    pixels = np.asarray(Image.open(marked)).copy()
    pixels[0, 0] = 1, 2, 3
    marked.unlink()
    Image.fromarray(pixels).save(marked.with_suffix(".png"))
    return photos


def run(tmp_path, photos, tries, name="study"):
    folder = tmp_path / f"tried-{name}"
    folder.mkdir()
    settings = {"augmentations": {"bad": Stops(tries, folder)}, "workers": 2, "shard_size": 4, "image_timeout": 1.0}
    study = embedshift.run(photos, out=tmp_path / name, model=MeanColour(), **settings)
    return study, len(list(folder.iterdir()))


def test_an_image_whose_loader_is_stopped_is_tried_once_more(tmp_path, photos):
    study, tried = run(tmp_path, photos, tries=1)
    assert study.failures().is_empty()
    assert tried == 1
    whole, _ = run(tmp_path, photos, tries=0, name="whole")
    assert study.rows().collect().equals(whole.rows().collect(), null_equal=True)
    assert children() == []


@pytest.mark.matrix
def test_an_image_whose_loader_is_stopped_twice_is_a_failure(tmp_path, photos):
    study, tried = run(tmp_path, photos, tries=9)
    (failure,) = study.failures().rows(named=True)
    assert "or a process that was stopped; tried twice" in failure["reason"]
    assert failure["transient"]
    assert tried == 2
    assert study.rows().collect()["image_id"].n_unique() == COUNT - 1
    assert children() == []


@pytest.mark.matrix
@pytest.mark.parametrize("in_turns", first_only([False, True]))
def test_loaders_that_are_stopped_lose_nothing(tmp_path, photos, in_turns):
    config = make_config({"images": [str(photos)], "image_timeout": 1.0})
    drawn = []
    with prepared(config, None, encoder=MeanColour()) as study:
        samples = list(study.samples) * 5
        for image in draw_all(Images(samples, study.plan.source, study.plan, draw_image), 2, in_turns=in_turns):
            drawn.append(image.sample.image_id)
            if len(drawn) == 3:
                for pid in children():
                    os.kill(pid, signal.SIGSTOP)
    assert drawn == [sample.image_id for sample in samples]
    assert children() == []


@pytest.mark.matrix
def test_a_loader_that_is_slow_but_works_is_not_ended(tmp_path, photos):
    """Steps of 0.8 s of each image, 4 s in all: beyond the patience for one."""
    slow = {f"slow {n}": lambda image, rng: (time.sleep(0.8), image)[1] for n in range(5)}
    settings = {"augmentations": slow, "workers": 1, "limit": 2, "image_timeout": 1.5}
    study = embedshift.run(photos, out=tmp_path / "study", model=MeanColour(), **settings)
    assert study.failures().is_empty()


# A run whose augmentation stops its own loader.
STOPPED = """
import multiprocessing, os, signal
from embedshift.augmentations import SUITES
from embedshift.augmentations.augmentation import Augmentation
from embedshift.cli import main
from embedshift.encoders import ENCODERS
from support.mean_colour import MeanColour

def stop(image, rng):
    if multiprocessing.parent_process():  # the run itself asks what the augmentation answers
        print("stopped", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
    return image

ENCODERS.add("mean-colour", lambda **_settings: MeanColour())
SUITES.add("stopped", lambda _choice: [Augmentation("stop", stop)])
main()
"""


@pytest.mark.matrix
@pytest.mark.parametrize("number", first_only([signal.SIGINT, signal.SIGTERM, signal.SIGKILL]))
def test_whatever_ends_a_run_leaves_no_stopped_loader_behind(number, tmp_path):
    arguments = ["run", pictures(tmp_path / "photos", 2), "--out", tmp_path / "out", "--model", "mean-colour"]
    process = command.start_python(STOPPED, *arguments, "--augmentations", "stopped", "--workers", 1)
    assert process.stdout.readline() == "stopped\n", process.communicate()
    process.send_signal(number)
    done = command.finish(process, timeout=30)
    assert done.code == (-number if number == signal.SIGKILL else 128 + number)
    assert "Traceback" not in done.err
    assert group_is_gone(process.pid)
