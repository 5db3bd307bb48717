"""Small cases worked by hand."""

import torch
from torch import nn
from torch.nn import functional

from embedshift.encoders.dissection import anatomy as readout_module
from embedshift.encoders.dissection import secant
from embedshift.encoders.observations import Tower


def test_readout_readout():
    block = nn.Linear(4, 4)
    net = nn.Sequential(nn.Unflatten(1, (6, 4)), nn.Sequential(block, nn.Linear(4, 4)), nn.Flatten())
    tower = Tower(net, True, lambda tokens: (1, 1), embed=lambda pixels: net(pixels[:, 0, 0]), size=24)
    readout = readout_module.Readout(tower)
    assert (
        repr((readout.tokens, readout.first_only, readout(torch.ones(2, 6, 4)).shape))
        == "(6, False, torch.Size([2, 24]))"
    )


def test_secant_pull_back():
    x, y = (torch.arange(6.0).reshape(1, 2, 3).sin(), torch.arange(6.0).reshape(1, 2, 3).cos())
    found = secant.pull_back(lambda tokens: functional.layer_norm(tokens, (3,)).flatten(1) + 1, x, y)
    assert round((found.weights * (y - x)).sum().item(), 5) == 1.0
