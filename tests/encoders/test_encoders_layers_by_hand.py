"""Small cases worked by hand."""

import torch
from torch import nn

from embedshift.encoders import observations as layers
from embedshift.encoders.observations import Tower


def test_layer_tap():
    net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    hook = layers.LayerObservation(Tower(net, has_cls=True, grid=lambda tokens: (2, 2)))
    with torch.inference_mode():
        _ = net(torch.ones(3, 5, 8))
    assert hook.take(3, None).shape == (3, 2, 2, 8)
