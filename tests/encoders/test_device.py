"""Which encoders take all cores, so that loaders draw in turns with them."""

from types import SimpleNamespace

import pytest
import torch

from embedshift.encoders import device
from embedshift.encoders.device import takes_all_cores
from support.mean_colour import MeanColour


@pytest.mark.parametrize(
    ("threads", "where", "wanted"),
    [
        (4, torch.device("cpu"), True),
        (4, "cpu", True),
        (3, torch.device("cpu"), False),
        (4, torch.device("cuda:1"), False),
        (4, "mps", False),
    ],
)
def test_an_encoder_on_the_cpu_with_a_thread_on_each_core(monkeypatch, threads, where, wanted):
    monkeypatch.setattr(device, "cores", lambda: 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert takes_all_cores(SimpleNamespace(device=where)) == wanted


def test_an_encoder_that_does_not_say_where_it_computes(monkeypatch):
    monkeypatch.setattr(device, "cores", lambda: 1)
    assert not takes_all_cores(MeanColour())
