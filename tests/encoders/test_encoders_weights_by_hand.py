"""Small cases worked by hand."""

import torch
from torch import nn

from embedshift.encoders import structure as weights


def test_weights_hash():
    assert weights.weights_hash(nn.Identity())[:12] == "e3b0c44298fc"


def test_cast_weights():
    layer = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    weights.cast_weights(layer, torch.bfloat16)
    assert [weight.dtype for weight in layer.parameters()][1:3] == [torch.bfloat16, torch.float32]


def test_cast_for_now():
    layer = nn.Linear(2, 2)
    with weights.temporarily_cast(layer, torch.bfloat16):
        assert layer.weight.dtype == torch.bfloat16
    assert layer.weight.dtype == torch.float32


def test_frozen():
    layer = nn.Linear(2, 2)
    with weights.frozen(layer):
        assert not layer.weight.requires_grad
    assert layer.weight.requires_grad
