"""One image cannot end a run: loaders that die, stop, hang or lack memory are replaced, and the image is named."""

import contextlib
import ctypes
import dataclasses
import mmap
import os
import signal
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import embedshift
from embedshift.augmentations import load_suite
from embedshift.config import make_config
from embedshift.engines import loaders
from embedshift.engines.loaders import Images, ViewSlots, draw_all
from embedshift.engines.local import read_blocks
from embedshift.pipeline import prepare
from embedshift.pipeline.draw import TookTooLong, draw_image, time_limit
from embedshift.pipeline.drawn import DrawnImage
from embedshift.pipeline.prepare import prepared
from support import command
from support.matrix import first_only
from support.mean_colour import MeanColour
from support.models import pictures
from support.processes import children, group_is_gone
from support.synthetic import write_pictures

pytestmark = pytest.mark.slow

COUNT = 6


@pytest.fixture
def photos(tmp_path):
    write_pictures(tmp_path / "photos", [f"{n}.png" for n in range(COUNT)], 0)
    return tmp_path / "photos"


@pytest.fixture
def many(photos):
    write_pictures(photos, [f"{n}.png" for n in range(COUNT, 30)], 1)
    return photos


def study_of(photos, **settings):
    return prepared(make_config({"images": [str(photos)], **settings}), None, encoder=MeanColour())


class Misbehaves:
    """An augmentation that does something at the one image that is marked, as often as it may."""

    def __init__(self, do, tries, folder):
        self.do, self.tries, self.folder = do, tries, folder

    def __call__(self, image, rng):
        if image[0, 0].tolist() == [1, 2, 3]:
            tried = len(list(self.folder.iterdir()))
            if tried < self.tries:
                (self.folder / f"{tried}-{os.getpid()}").touch()
                self.do()
        return image[:, ::-1]


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def stop():
    os.kill(os.getpid(), signal.SIGSTOP)


def wait():
    time.sleep(60)


def spin():
    while True:
        with contextlib.suppress(Exception):
            sum(range(1000))


def hold_the_interpreter():
    """A library that never comes back: no Python runs in this process any more."""
    library, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(128)
    for _ in range(2):  # the second waits for the first for ever, whatever signals come
        library.pthread_mutex_lock(mutex)


def no_memory():
    raise MemoryError("cannot allocate 40 GiB")


def run(tmp_path, photos, do, tries, *, workers=2, timeout=1.0, name="study"):
    """A study in which the third image does that, as often as it may."""
    pixels = np.asarray(Image.open(photos / "2.png").resize((32, 32))).copy()
    pixels[0, 0] = 1, 2, 3
    Image.fromarray(pixels).save(photos / "2.png")
    folder = tmp_path / f"tried-{name}"
    folder.mkdir()
    suite = {"bad": Misbehaves(do, tries, folder), "dark": lambda image, rng: image // 2}
    settings = {"augmentations": suite, "workers": workers, "shard_size": 4, "image_timeout": timeout}
    study = embedshift.run(photos, out=tmp_path / name, model=MeanColour(), **settings)
    return study, sorted(int(path.name.split("-")[1]) for path in folder.iterdir())


WORDS = {
    die: "its loader process ended while reading, decoding or augmenting it",
    stop: "or a process that was stopped",
    hold_the_interpreter: "its loader process ended while reading, decoding or augmenting it",
    wait: "took longer than 1 s (`image_timeout`)",
    spin: "took longer than 1 s (`image_timeout`)",
    no_memory: "it does not fit into memory",
}


@pytest.fixture
def impatient(monkeypatch):
    """Loaders that are given up soon."""
    monkeypatch.setattr("embedshift.pipeline.draw.GRACE", 0.5)
    monkeypatch.setattr(loaders, "GRACE", 0.0)
    monkeypatch.setattr(loaders, "PATIENCE", 3.0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("do", first_only(WORDS), ids=lambda do: do.__name__)
def test_an_image_that_ends_its_loader_is_tried_alone_and_then_a_failure(tmp_path, photos, do):
    study, pids = run(tmp_path, photos, do, tries=9)
    (failure,) = study.failures().rows(named=True)
    assert (failure["image_id"], failure["stage"], failure["transient"]) == ("2.png", "draw", True)
    assert WORDS[do] in failure["reason"]
    assert failure["reason"].endswith("; tried twice")
    assert set(study.rows().collect()["image_id"]) == {f"{n}.png" for n in range(COUNT)} - {"2.png"}
    assert len(set(pids)) == 2, "twice, in two processes"
    assert children() == []


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("do", first_only([die, stop, no_memory]), ids=lambda do: do.__name__)
def test_an_image_that_is_well_at_the_second_try_is_measured(tmp_path, photos, do):
    study, pids = run(tmp_path, photos, do, tries=1)
    assert study.failures().is_empty()
    assert len(pids) == 1
    whole, _ = run(tmp_path, photos, do, tries=0, name="whole")
    assert study.rows().collect().equals(whole.rows().collect(), null_equal=True)


@pytest.mark.matrix
def test_without_loaders_the_second_try_has_a_process_of_its_own(tmp_path, photos):
    study, pids = run(tmp_path, photos, wait, tries=9, workers=0)
    assert study.failures()["image_id"].to_list() == ["2.png"]
    assert pids.count(os.getpid()) == 1
    assert len(pids) == 2


@pytest.mark.matrix
@pytest.mark.usefixtures("impatient")
def test_every_step_has_the_time_and_not_all_of_them_together(tmp_path, photos):
    """Steps of 0.8 s, 5.6 s in all: beyond the patience for one."""
    slow = {f"slow {n}": lambda image, rng: (time.sleep(0.8), image)[1] for n in range(7)}
    settings = {"augmentations": slow, "workers": 1, "limit": 1, "image_timeout": 1.5}
    study = embedshift.run(photos, out=tmp_path / "study", model=MeanColour(), **settings)
    assert study.failures().is_empty()
    again = embedshift.run(photos, out=study.folder, model=MeanColour(), **settings | {"image_timeout": 60.0})
    assert again.info()["config_hash"] == study.info()["config_hash"], "the time is no part of the identity"


@pytest.mark.matrix
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("in_turns", [False, True])
def test_loaders_that_are_killed_or_stopped_lose_nothing(many, in_turns, number):
    """The second image ends the loader of the first, which is done, and with it that of all others in its queue."""
    with study_of(many, image_timeout=1.0) as study:
        drawn = []
        for image in draw_all(Images(study.samples, study.plan.source, study.plan, draw_image), 3, in_turns=in_turns):
            drawn.append(image)
            if len(drawn) in ((2, 9, 17) if number == signal.SIGKILL else (3,)):
                for pid in children():
                    os.kill(pid, number)
    assert [image.sample.image_id for image in drawn] == [sample.image_id for sample in study.samples]
    assert children() == []


@pytest.mark.matrix
def test_loaders_in_turns_stand_still_while_their_images_are_taken(tmp_path, photos):
    write_pictures(photos, [f"{n}.png" for n in range(6, 20)], 1)
    marks = tmp_path / "marks"

    def mark(image, rng):
        with marks.open("a") as file:
            file.write(".")
        return image

    with study_of(photos) as study:
        plan = dataclasses.replace(study.plan, suite=load_suite({"mark": mark}))
        images, seen = Images(study.samples, study.plan.source, plan, draw_image), []
        for _ in draw_all(images, 2, in_turns=True):
            time.sleep(0.1)
            seen.append(len(marks.read_text()))
    # Turns of 2, 4 and 8 images, then the last 6, which are taken while they are drawn.
    assert seen[:14] == [2] * 2 + [6] * 4 + [14] * 8
    assert seen[-1] == 20


def test_leaving_early_ends_a_loader_that_hangs(photos):
    with study_of(photos) as study:
        suite = load_suite({"hang": lambda image, rng: hold_the_interpreter()})
        plan = dataclasses.replace(study.plan, suite=suite)
        with loaders._Loader(Images(study.samples, study.plan.source, plan, draw_image)) as loader:
            loader.request(0)
            assert children() == [loader.process.pid]
    assert children() == []


def large(sample, source, plan, *, on_step):
    return bytes(50_000_000)


def test_a_loader_that_is_killed_while_it_hands_over_is_one_that_has_ended(photos):
    """Half of an image is in its pipe: whoever waits for the other half waits no longer than it lives."""
    with (
        study_of(photos) as study,
        loaders._Loader(Images(study.samples, study.plan.source, study.plan, large)) as loader,
    ):
        loader._pipe.send((0, None))
        assert loader._pipe.poll(30)
        time.sleep(0.2)
        loader.process.kill()
        with pytest.raises(loaders.GONE):
            loader._receive(loader._slots, None)


def test_images_ahead_are_counted_by_their_bytes(photos):
    with study_of(photos) as study:
        large = dataclasses.replace(study.plan, encoder=study.plan.encoder.model_copy(update={"size": 224}))
        assert loaders._ahead(large, 2) == 3 * loaders.BYTES_AHEAD // (10 * 224 * 224 * 3)
        # A pipe holds the requests for about a thousand images.
        assert loaders._ahead(study.plan, 2) == loaders.MOST_AHEAD
        many = dataclasses.replace(study.plan, config=dataclasses.replace(study.plan.config, draws=100_000))
        assert loaders._ahead(many, 2) == 2


def test_more_views_of_an_image_than_memory_holds_are_refused(tmp_path, photos):
    with pytest.raises(embedshift.EmbedshiftError, match=r"`draws` 1000000000: .* at most 38836 draws fit") as caught:
        embedshift.run(photos, out=tmp_path / "study", model=MeanColour(), draws=1_000_000_000)
    assert caught.value.exit_code == 2
    assert (2**30 // (32 * 32 * 3) - 1) // 9 == 38836
    strength = {"augmentations": "strength", "families": ("noise",)}
    with pytest.raises(embedshift.EmbedshiftError, match="`levels` must be less than or equal to 1000"):
        embedshift.run(photos, out=tmp_path / "study", model=MeanColour(), levels=1_000_000, **strength)
    with study_of(photos) as study:
        config = dataclasses.replace(study.plan.config, levels=900)
        large = dataclasses.replace(
            study.plan, config=config, encoder=study.plan.encoder.model_copy(update={"size": 8192})
        )
    with pytest.raises(embedshift.EmbedshiftError, match=r"^`levels` 900: .* 9 of 8192 pixels .*; at most 4 views fit"):
        prepare._refuse_more_than_memory(large)


def test_a_limit_leaves_alarm_and_timer_as_they_were():
    def ours(_number, _frame):
        raise AssertionError("not in this test")

    before = signal.signal(signal.SIGALRM, ours)
    signal.setitimer(signal.ITIMER_REAL, 50)
    try:
        with pytest.raises(TookTooLong), time_limit(0.05):
            time.sleep(5)
        assert signal.getsignal(signal.SIGALRM) is ours
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 50
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_in_another_thread_there_is_no_limit():
    done = []

    def work():
        with time_limit(0.05) as next_step:
            time.sleep(0.2)
            next_step()
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


def test_a_process_that_may_have_no_children_needs_no_loaders(tmp_path, photos, monkeypatch):
    """As those of `multiprocessing.Pool`, which is not started here: a fork of a process that used Polars hangs."""
    monkeypatch.setattr(loaders, "_is_daemon", lambda: True)
    with pytest.raises(embedshift.EmbedshiftError, match="cannot start loader processes; use `workers` 0"):
        embedshift.run(photos, out=tmp_path / "loaders", model=MeanColour(), workers=1)
    study, pids = run(tmp_path, photos, no_memory, tries=9, workers=0)
    (failure,) = study.failures().rows(named=True)
    assert (failure["image_id"], failure["reason"]) == ("2.png", "it does not fit into memory; tried once")
    assert failure["transient"]
    assert pids == [os.getpid()], "there is no second try"


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
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_whatever_ends_a_run_leaves_no_stopped_loader_behind(number, photos, tmp_path):
    arguments = ["run", photos, "--out", tmp_path / "out", "--model", "mean-colour"]
    process = command.start_python(STOPPED, *arguments, "--augmentations", "stopped", "--workers", 1)
    assert process.stdout.readline() == "stopped\n", process.communicate()
    process.send_signal(number)
    done = command.finish(process, timeout=30)
    assert done.code == (-number if number == signal.SIGKILL else 128 + number)
    assert "Traceback" not in done.err
    assert group_is_gone(process.pid)


class Blocks:
    """A source of images in blocks of three; it keeps which were read, and some cannot be."""

    def __init__(self, of_blocks=True, broken=None):
        self.of_blocks, self.broken, self.read_ones = of_blocks, broken, []

    def block(self, sample):
        return ("file", sample // 3) if self.of_blocks else None

    def read(self, sample):
        self.read_ones.append(sample)
        if sample // 3 == self.broken:
            raise OSError("gone")
        return b""


def test_one_image_of_each_block_is_read_before_loaders_are_forked_and_a_broken_one_stops_nothing():
    shard = SimpleNamespace(samples=[0, 1, 2, 3, 4, 5, 6])
    for source, workers, blocks in (
        (Blocks(), 2, [0, 1, 2]), (Blocks(broken=1), 2, [0, 1, 2]), (Blocks(), 0, []), (Blocks(of_blocks=False), 2, []),
    ):  # fmt: skip
        config = SimpleNamespace(workers=workers, image_timeout=30.0)
        read_blocks(shard, SimpleNamespace(source=source, config=config))
        assert sorted(sample // 3 for sample in source.read_ones) == blocks


@pytest.mark.parametrize(("device", "said"), [("cuda:0", 1), ("cpu", 0)])
def test_a_run_on_one_of_several_gpus_says_so(device, said, tmp_path, monkeypatch, caplog):
    class Placed(MeanColour):
        pass

    Placed.device = device
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    embedshift.run(pictures(tmp_path / "photos", 1), out=tmp_path / "study", model=Placed(), workers=0)
    assert caplog.text.count("one of 3 GPUs is used; `engine` ray uses all of them") == said


# Views that loaders draw lie in memory that this process reads: none is copied, and none is written over.


def memory_of(views):
    """What the views lie in."""
    base = views
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    return getattr(base, "obj", base)


@pytest.mark.parametrize("in_turns", first_only([False, True]))
def test_all_images_held_at_once_are_those_that_are_drawn_here(many, monkeypatch, in_turns):
    """More than there are places: those that find none come through the pipe."""
    monkeypatch.setattr(loaders, "BYTES_AHEAD", 4 * 10 * 32 * 32 * 3)
    with study_of(many, batch_size=10) as study:
        images = Images(study.samples, study.plan.source, study.plan, draw_image)
        wanted, found = list(draw_all(images, 0)), list(draw_all(images, 2, in_turns=in_turns))
    shared = [isinstance(memory_of(image.views), mmap.mmap) for image in found]
    assert 4 <= sum(shared) < len(found) == 30
    assert not any(isinstance(memory_of(image.views), mmap.mmap) for image in wanted)
    for here, there in zip(wanted, found, strict=True):
        assert isinstance(there, DrawnImage)
        np.testing.assert_array_equal(there.views, here.views)
        assert (there.sample, there.seeds, there.pixels_hash) == (here.sample, here.seeds, here.pixels_hash)
        assert all(np.array_equal(there.pixels[name], values) for name, values in here.pixels.items())


def test_an_image_that_fails_frees_its_place(many):
    def no(image, rng):
        raise ValueError("no")

    with study_of(many) as study:
        plan = dataclasses.replace(study.plan, suite=load_suite({"no": no}))
        with loaders._Loader(Images(study.samples, plan.source, plan, draw_image)) as loader:
            free = len(loader._slots._free)
            for place in range(30):
                loader.request(place)
            assert {loader.take(place).stage for place in range(30)} == {"draw"}
            assert len(loader._slots._free) == free > 0


def test_a_place_is_free_when_no_part_of_its_views_is_held():
    slots = ViewSlots(1, (3, 4, 4, 3))
    views = slots.lend(slots.take())
    part = views[1:, 2]
    del views
    assert slots.take() is None
    del part
    assert slots.take() == 0
