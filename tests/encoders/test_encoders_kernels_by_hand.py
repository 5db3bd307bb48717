"""Small cases worked by hand."""

import torch
from torch import nn

from embedshift.encoders import kernels


def test_packed_weights():
    layer = nn.Linear(3, 2)
    x = torch.ones(4, 3)
    with torch.inference_mode(), kernels.PackedLinears(layer, torch.float32).in_use():
        fast = layer(x)
    assert torch.allclose(fast, layer(x), atol=1e-06)
