"""Small cases worked by hand."""

from embedshift.engines import loaders, ray
from embedshift.engines import local as devices


def test_devices_device_names():
    assert devices.device_names("cuda:0, cuda:2") == ["cuda:0", "cuda:2"]


def test_ray_fit():
    assert ray._fit([{"CPU": 4.0}, {"CPU": 8.0}], gpus=0, workers=3) == (4, 3)
    assert ray._fit([{"CPU": 16.0, "GPU": 8.0}], gpus=1, workers=7) == (2, 8)


def test_slots():
    slots = loaders.ViewSlots(1, (2, 4, 4, 3))
    slot = slots.take()
    slots.views(slot)[:] = 7
    views = slots.lend(slot)
    assert (views.shape, int(views.max()), slots.take()) == ((2, 4, 4, 3), 7, None)
    del views
    assert slots.take() == 0
