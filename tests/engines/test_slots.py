"""Views that loaders draw lie in memory that this process reads: none is copied, and none is written over."""

import mmap

import numpy as np
import pytest

import embedshift
from embedshift.augmentations import load_suite
from embedshift.config import make_config
from embedshift.engines import loaders
from embedshift.engines.loaders import Images, ViewSlots, draw_all
from embedshift.pipeline.draw import draw_image
from embedshift.pipeline.drawn import DrawnImage
from embedshift.pipeline.prepare import prepared
from support.matrix import first_only
from support.mean_colour import MeanColour
from support.synthetic import write_pictures

pytestmark = pytest.mark.slow

COUNT = 30


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slots") / "photos"
    write_pictures(folder, [f"{n}.png" for n in range(COUNT)], 0)
    return folder


def memory_of(views):
    """What the views lie in."""
    base = views
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    return getattr(base, "obj", base)


@pytest.mark.parametrize("in_turns", first_only([False, True]))
def test_all_images_held_at_once_are_those_that_are_drawn_here(photos, monkeypatch, in_turns):
    """More than there are places: those that find none come through the pipe."""
    monkeypatch.setattr(loaders, "BYTES_AHEAD", 4 * 10 * 32 * 32 * 3)
    settings = {"images": [str(photos)], "batch_size": 10}
    with prepared(make_config(settings), None, encoder=MeanColour()) as study:
        images = Images(study.samples, study.plan.source, study.plan, draw_image)
        wanted, found = list(draw_all(images, 0)), list(draw_all(images, 2, in_turns=in_turns))
    shared = [isinstance(memory_of(image.views), mmap.mmap) for image in found]
    assert 4 <= sum(shared) < COUNT
    assert not any(isinstance(memory_of(image.views), mmap.mmap) for image in wanted)
    for here, there in zip(wanted, found, strict=True):
        assert isinstance(there, DrawnImage)
        np.testing.assert_array_equal(there.views, here.views)
        assert (there.sample, there.seeds, there.pixels_hash) == (here.sample, here.seeds, here.pixels_hash)
        assert all(np.array_equal(there.pixels[name], values) for name, values in here.pixels.items())


@pytest.mark.matrix
def test_a_run_takes_all_of_its_views_from_shared_memory(photos, tmp_path, monkeypatch):
    seen = []

    def lend(self, place, lend=ViewSlots.lend):
        seen.append(place)
        return lend(self, place)

    monkeypatch.setattr(ViewSlots, "lend", lend)
    study = embedshift.run(photos, out=tmp_path / "two", model=MeanColour(), workers=2, batch_size=40)
    alone = embedshift.run(photos, out=tmp_path / "none", model=MeanColour(), workers=0, batch_size=40)
    assert len(seen) == COUNT
    assert study.rows().collect().equals(alone.rows().collect())


def test_an_image_that_fails_frees_its_place(photos):
    def no(image, rng):
        raise ValueError("no")

    with (
        prepared(make_config({"images": [str(photos)]}), None, encoder=MeanColour(), suite=load_suite({"no": no})) as s,
        loaders._Loader(Images(s.samples, s.plan.source, s.plan, draw_image)) as loader,
    ):
        free = len(loader._slots._free)
        for place in range(COUNT):
            loader.request(place)
        assert {loader.take(place).stage for place in range(COUNT)} == {"draw"}
        assert len(loader._slots._free) == free > 0


def test_a_place_is_free_when_no_part_of_its_views_is_held():
    slots = ViewSlots(1, (3, 4, 4, 3))
    views = slots.lend(slots.take())
    part = views[1:, 2]
    del views
    assert slots.take() is None
    del part
    assert slots.take() == 0
