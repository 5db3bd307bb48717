"""Small cases worked by hand."""

import torch
from torch.nn import functional

from embedshift.encoders import attention as eager


def test_eager_attention():
    q = torch.ones(1, 1, 2, 4, requires_grad=True)
    with eager.AttentionInterceptor() as mode:
        _ = functional.scaled_dot_product_attention(q, q, q)
    assert (mode.attended[0].weights.requires_grad, tuple(mode.attended[0].outputs.shape)) == (True, (1, 1, 2, 4))
