"""Small cases worked by hand."""

import torch
from torch import nn


def test_module_encoder_differentiable():
    from embedshift.encoders.module import wrap

    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
    pixels = torch.full((1, 3, 8, 8), 100.0, requires_grad=True)
    with wrap(net, size=8, mean=(0.5,) * 3, std=(0.5,) * 3).differentiable() as embed:
        embed(pixels).sum().backward()
    assert repr((pixels.grad.shape, net[1].weight.grad is None)) == "(torch.Size([1, 3, 8, 8]), True)"
