"""Small cases worked by hand."""

import torch
from torch import nn

from embedshift.encoders import observations as rollout
from embedshift.encoders.observations import Tower


def test_rollout_tap():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    net = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
    hook = rollout.RolloutObservation(Tower(net, has_cls=True, grid=lambda tokens: (2, 2)))
    with torch.inference_mode():
        _ = net(torch.ones(2, 5, 8))
    assert hook.take(2, None).sum(axis=1).round(5).tolist() == [1.0, 1.0]
