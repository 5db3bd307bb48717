"""Small cases worked by hand."""

import torch
from torch import nn

from embedshift.encoders import kernels


def test_cpu_kernels():
    layer = nn.Linear(3, 2)
    x = torch.ones(4, 3)
    with torch.inference_mode(), kernels.CpuKernels(layer, torch.float32):
        fast = layer(x)
    assert torch.allclose(fast, layer(x), atol=1e-06)
