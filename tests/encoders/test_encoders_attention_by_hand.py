"""Small cases worked by hand."""

import torch
from torch import nn

from embedshift.encoders import attention


def test_attention_tap():
    layer = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    hook = attention.AttentionHook(layer, rows="first")
    x = torch.ones(1, 5, 8)
    with torch.inference_mode():
        _ = layer(x, x, x, need_weights=False)
    assert repr(hook.take().shape) == "torch.Size([1, 5])"


def test_attention_weights():
    assert (
        repr(attention.attention_weights(torch.ones(1, 2, 3, 4), torch.ones(1, 2, 5, 4))[0, 0, 0])
        == "tensor([0.2000, 0.2000, 0.2000, 0.2000, 0.2000])"
    )
