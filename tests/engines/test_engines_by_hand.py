"""Small cases worked by hand."""

from embedshift.engines import devices, ray
from embedshift.engines import rooms as rooms_module


def test_devices_device_names():
    assert devices.device_names("cuda:0, cuda:2") == ["cuda:0", "cuda:2"]


def test_ray_fit():
    assert ray._fit([{"CPU": 4.0}, {"CPU": 8.0}, {"memory": 1.0}], gpus=0, workers=3) == (4, 3)
    assert ray._fit([{"CPU": 16.0, "GPU": 8.0}, {"CPU": 2.0}], gpus=1, workers=7) == (2, 8)


def test_rooms_rooms():
    rooms = rooms_module.Rooms(1, (2, 4, 4, 3))
    place = rooms.take()
    rooms.views(place)[:] = 7
    views = rooms.lend(place)
    assert (views.shape, int(views.max()), rooms.take()) == ((2, 4, 4, 3), 7, None)
    del views
    assert rooms.take() == 0
