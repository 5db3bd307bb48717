"""Small cases worked by hand."""

import torch

from embedshift.encoders import device as device_module


def test_from_device():
    assert repr(device_module.from_device([torch.ones(2)])()) == "[array([1., 1.], dtype=float32)]"


def test_device_name():
    assert device_module.device_name(torch.device("cpu")) == "cpu"


def test_takes_all_cores():
    class Elsewhere:
        device = "cuda:0"

    assert not (device_module.takes_all_cores(Elsewhere()))
