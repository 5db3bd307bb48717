"""The attention hook against weights written out by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.overrides import _len_torch_function_stack

from embedshift.encoders.attention import AttentionHook
from support.attention_by_hand import multihead_row, slow_row

B, H, T, D = 2, 4, 10, 8


class Sdpa(nn.Module):
    """Scaled dot-product attention of its three inputs."""

    def __init__(self, **options):
        super().__init__()
        self.options = options

    def forward(self, q, k, v):
        return functional.scaled_dot_product_attention(q, k, v, **self.options)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 1.5


def tapped(module, *inputs, from_cls, **kwargs):
    """The module's output without the hook and with it, which must be the same to the bit, and the row."""
    with torch.inference_mode():
        before = module(*inputs, **kwargs)
        hook = AttentionHook(module, rows="first" if from_cls else "mean")
        after = module(*inputs, **kwargs)
    hook.remove()
    before, after = (x[0] if isinstance(x, tuple) else x for x in (before, after))
    assert (before - after).abs().max() == 0.0
    assert _len_torch_function_stack() == 0
    row = hook.take()
    assert hook.take() is None
    return row


BOOL = torch.ones(T, T, dtype=torch.bool).tril(5)
FLOAT = drawn(T, T, seed=9)
MASKS = {
    "none": ({}, None),
    "bool mask": ({"attn_mask": BOOL}, torch.zeros(T, T).masked_fill(~BOOL, -torch.inf)),
    "float mask": ({"attn_mask": FLOAT}, FLOAT),
    "one row for all": ({"attn_mask": BOOL[2:3]}, torch.zeros(1, T).masked_fill(~BOOL[2:3], -torch.inf).expand(T, T)),
    "causal": ({"is_causal": True}, torch.zeros(T, T).masked_fill(~torch.ones(T, T).tril().bool(), -torch.inf)),
}


@pytest.mark.parametrize(("mask", "scale"), list(zip(MASKS, (None, 0.7, None, 0.7, None), strict=True)))
@pytest.mark.parametrize("from_cls", [True, False])
def test_scaled_dot_product(from_cls, mask, scale):
    options, bias = MASKS[mask]
    q, k, v = (drawn(B, H, T, D, seed=s) for s in (1, 2, 3))
    row = tapped(Sdpa(scale=scale, **options), q, k, v, from_cls=from_cls)
    torch.testing.assert_close(row, slow_row(q, k, from_cls=from_cls, scale=scale, bias=bias), rtol=0, atol=1e-6)


@pytest.mark.parametrize("from_cls", [True, False])
def test_grouped_queries_and_other_lengths(from_cls):
    q, k, v = drawn(B, H, 6, D, seed=1), drawn(B, 2, T, D, seed=2), drawn(B, 2, T, D, seed=3)
    row = tapped(Sdpa(enable_gqa=True), q, k, v, from_cls=from_cls)
    torch.testing.assert_close(row, slow_row(q, k, from_cls=from_cls), rtol=0, atol=1e-6)
    # Without a dimension of heads.
    q, k, v = (drawn(B, T, D, seed=s) for s in (1, 2, 3))
    row = tapped(Sdpa(), q, k, v, from_cls=from_cls)
    torch.testing.assert_close(row, slow_row(q[:, None], k[:, None], from_cls=from_cls), rtol=0, atol=1e-6)


class Projected(nn.Module):
    """Attention with its projections inside, which autocast lowers; keeps the q and k that the kernel got."""

    def __init__(self):
        super().__init__()
        self.q, self.k = nn.Linear(D, H * D), nn.Linear(D, H * D)

    def forward(self, x):
        q, k = (part(x).unflatten(-1, (H, D)).transpose(1, 2) for part in (self.q, self.k))
        self.seen = q.detach().clone(), k.detach().clone()
        return functional.scaled_dot_product_attention(q, k, k)


def test_autocast_row_is_computed_in_float32():
    module = Projected()
    with torch.autocast("cpu", torch.bfloat16):
        row = tapped(module, drawn(B, T, D) * 3, from_cls=True)
    q, k = module.seen
    assert q.dtype == torch.bfloat16
    assert row.dtype == torch.float32
    torch.testing.assert_close(row, slow_row(q, k, from_cls=True), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("from_cls", "batch_first", "masked", "need_weights"),
    [(True, True, True, False), (True, False, False, True), (False, True, False, False), (False, False, True, True)],
)
def test_multihead_attention(from_cls, batch_first, masked, need_weights):
    torch.manual_seed(0)
    module = nn.MultiheadAttention(H * D, H, batch_first=batch_first).eval()
    x = drawn(B, T, H * D) * 2
    given = x if batch_first else x.transpose(0, 1)
    options = {"attn_mask": FLOAT} if masked else {}
    row = tapped(module, given, given, given, from_cls=from_cls, need_weights=need_weights, **options)
    expected = multihead_row(module, x, from_cls=from_cls, bias=FLOAT if masked else None)
    torch.testing.assert_close(row, expected, rtol=0, atol=1e-5)
    row = tapped(module, given, given, given, None, False, FLOAT, from_cls=from_cls)
    torch.testing.assert_close(row, multihead_row(module, x, from_cls=from_cls, bias=FLOAT), rtol=0, atol=1e-5)


def test_encoder_layer_that_has_a_fast_path():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(H * D, H, 64, batch_first=True, norm_first=False).eval()
    x = drawn(B, T, H * D)
    row = tapped(layer, x, from_cls=True)
    torch.testing.assert_close(row, multihead_row(layer.self_attn, x, from_cls=True), rtol=0, atol=1e-5)


@pytest.mark.parametrize("softmax", [functional.softmax, torch.softmax, torch.Tensor.softmax])
def test_attention_written_out_with_softmax(softmax):
    class Eager(nn.Module):
        def forward(self, q, k):
            return softmax(q @ k.transpose(-2, -1) * D**-0.5, dim=-1) @ k

    q, k = drawn(B, H, T, D, seed=1), drawn(B, H, T, D, seed=2)
    row = tapped(Eager(), q, k, from_cls=True)
    torch.testing.assert_close(row, slow_row(q, k, from_cls=True), rtol=0, atol=1e-6)


def test_the_last_attention_in_the_block_counts():
    class Two(nn.Module):
        def forward(self, q, k):
            first = functional.scaled_dot_product_attention(k, q, q)
            return functional.scaled_dot_product_attention(q, k, first)

    q, k = drawn(B, H, T, D, seed=1), drawn(B, H, T, D, seed=2)
    torch.testing.assert_close(tapped(Two(), q, k, from_cls=True), slow_row(q, k, from_cls=True), rtol=0, atol=1e-6)


def test_an_exception_leaves_nothing_behind():
    class Raises(nn.Module):
        def forward(self, q):
            functional.scaled_dot_product_attention(q, q, q)
            raise RuntimeError("out of memory")

    module = Raises()
    hook = AttentionHook(module, rows="first")
    with pytest.raises(RuntimeError, match="out of memory"):
        module(drawn(B, H, T, D))
    assert hook.take() is None
    assert _len_torch_function_stack() == 0
