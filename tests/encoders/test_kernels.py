"""Faster kernels on a CPU give what torch's own give, and are taken only where they do."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import Dinov2Config, Dinov2Model

from embedshift.encoders import calls, kernels
from embedshift.encoders.base import Preprocess
from embedshift.encoders.calls import Calls
from embedshift.encoders.kernels import CpuKernels
from embedshift.encoders.module import ModuleEncoder

VIEWS = np.random.default_rng(1).integers(0, 256, (5, 28, 28, 3), np.uint8)
HALF = (0.5, 0.5, 0.5)
SMALL = Dinov2Config(hidden_size=32, num_hidden_layers=3, num_attention_heads=2, image_size=28, patch_size=7)
# Whether oneDNN has products in bfloat16 here, native or emulated, by torch's own word: with AVX2 alone it has none.
BFLOAT16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
# What rounding to bfloat16, which keeps 8 bits, moves a number by at most, as a relative shift of it.
ROUNDING = 2**-8


@pytest.fixture(autouse=True)
def without_gradients():
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


@pytest.fixture(autouse=True)
def all_faster(monkeypatch, tmp_path):
    """Here every kernel is found to be faster: whether it is taken is then a matter of what it gives."""
    monkeypatch.setenv("EMBEDSHIFT_CACHE", str(tmp_path))
    monkeypatch.setattr(Calls, "times_as_fast", lambda *_: 2.0)


@pytest.fixture
def products(monkeypatch):
    """The shapes that went through oneDNN's product."""
    seen, product = [], kernels._product
    monkeypatch.setattr(kernels, "_product", lambda x, *rest: seen.append(tuple(x.shape)) or product(x, *rest))
    return seen


def read_class_token(module, pixels):
    return module(pixels).last_hidden_state[:, 0]


def encoder(**settings):
    torch.manual_seed(0)
    model = Dinov2Model(SMALL).eval()
    return ModuleEncoder(model, read_class_token, Preprocess(28, HALF, HALF), "small", device="cpu", **settings)


@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_is_the_product_in_float64(products, bias):
    layer, x = nn.Linear(96, 50, bias=bias), torch.randn(3, 7, 96)
    with CpuKernels(layer, layer.weight.dtype):
        found = layer(x)
    wanted = functional.linear(x.double(), layer.weight.double(), layer.bias.double() if bias else None)
    assert products == [(3, 7, 96)]
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), atol=1e-6)


def test_under_autocast_it_is_what_torch_gives_to_rounding(products):
    layer, x = nn.Linear(96, 50).bfloat16(), torch.randn(40, 96)
    if not BFLOAT16:
        with pytest.raises(RuntimeError, match="bf16"):  # and the encoder goes on without, see below
            CpuKernels(layer, torch.bfloat16)
        return
    with torch.autocast("cpu", torch.bfloat16):
        wanted = layer(x)
        with CpuKernels(layer, layer.weight.dtype):
            found = layer(x)
    assert products == [(40, 96)]
    assert found.dtype == torch.bfloat16
    found, wanted = found.float().numpy(), wanted.float().numpy()
    # Not to the bit: each is a sum in float32 that is rounded once, but where the processor has no such products the
    # two may add up in another order, and go to either side of what lies between: one rounding for each. A product that
    # is 2 % too large is five roundings off.
    atol = 2 * ROUNDING * np.abs(wanted).max()
    np.testing.assert_allclose(found, wanted, atol=atol)
    assert np.abs(1.02 * found - wanted).max() > atol


def test_weights_in_another_precision_than_autocasts_stay_with_torch(products):
    layer, x = nn.Linear(96, 50), torch.randn(40, 96)
    with torch.autocast("cpu", torch.bfloat16), CpuKernels(layer, torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    assert products == []


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_patches_are_cut_as_the_convolution_cuts_them(products, layout):
    convolution = nn.Conv2d(3, 24, kernel_size=(4, 7), stride=(4, 7))
    x = torch.randn(2, 3, 12, 35).to(memory_format=layout)
    with CpuKernels(convolution, torch.float32):
        found = convolution(x)
    wanted = functional.conv2d(x.double(), convolution.weight.double(), convolution.bias.double(), stride=(4, 7))
    assert products == [(2, 3, 5, 84)]
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    "settings", [{"stride": 2}, {"stride": 4, "padding": 1}, {"stride": 4, "groups": 3}, {"stride": 4, "dilation": 2}]
)
def test_other_convolutions_stay_with_torch(products, settings):
    convolution, x = nn.Conv2d(3, 24, 4, **settings), torch.randn(2, 3, 32, 32)
    with CpuKernels(convolution, torch.float32):
        found = convolution(x)
    assert products == []
    assert torch.equal(found, convolution(x))


def heads(scale=1.0, offset=0.0):
    """Queries, keys and values of 2 views, 3 heads, 50 tokens; the keys with something in common."""
    q, k, v = (torch.randn(2, 3, 50, 64) for _ in range(3))
    return tuple(part.bfloat16() for part in (q * scale, k + offset, v))


def exact(q, k, v, scale):
    scores = q.double() @ k.double().transpose(2, 3) * scale
    return scores.softmax(-1) @ v.double()


@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize("offset", [0.0, 8.0])
def test_attention_in_bfloat16_is_near_to_float64_whatever_all_keys_have_in_common(scale, offset):
    q, k, v = heads(offset=offset)
    with CpuKernels(nn.Identity(), torch.bfloat16), torch.autocast("cpu", torch.bfloat16):
        found = functional.scaled_dot_product_attention(q, k, v, scale=scale)
    fused = functional.scaled_dot_product_attention(q, k, v, scale=scale)
    wanted = exact(q, k, v, 64**-0.5 if scale is None else scale)
    assert found.dtype == torch.bfloat16
    assert not torch.equal(found, fused)  # another kernel it was
    error, usual = ((part.double() - wanted).abs().mean().item() for part in (found, fused))
    assert error < 4 * usual  # up to nine times, were the scores rounded with what they have in common


@pytest.mark.parametrize(
    "more",
    [
        {"is_causal": True},
        {"attn_mask": torch.ones(50, 50, dtype=torch.bool).tril()},
        {"attn_mask": torch.zeros(50, 50)},
    ],
)
def test_other_attention_stays_with_torch(more):
    q, k, v = heads()
    more = {
        name: value.bfloat16() if name == "attn_mask" and value.is_floating_point() else value
        for name, value in more.items()
    }
    wanted = functional.scaled_dot_product_attention(q, k, v, **more)
    with CpuKernels(nn.Identity(), torch.bfloat16):
        assert torch.equal(functional.scaled_dot_product_attention(q, k, v, **more), wanted)


def test_grouped_heads_and_float32_stay_with_torch():
    q, k, v = heads()
    few = functional.scaled_dot_product_attention(q, k[:, :1], v[:, :1], enable_gqa=True)
    full = functional.scaled_dot_product_attention(q.float(), k.float(), v.float())
    with CpuKernels(nn.Identity(), torch.bfloat16):
        assert torch.equal(functional.scaled_dot_product_attention(q, k[:, :1], v[:, :1], enable_gqa=True), few)
        assert torch.equal(functional.scaled_dot_product_attention(q.float(), k.float(), v.float()), full)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_encoder_on_a_cpu_takes_them_and_gives_what_the_library_gives(products, precision, monkeypatch):
    fast = encoder(precision=precision)
    taken = precision == "float32" or BFLOAT16
    products.clear()
    output = fast(VIEWS)
    # Per block q, k, v, the way out and two of the network; before them the patches.
    assert len(products) == (3 * 6 + 1 if taken else 0)
    torch.manual_seed(0)
    pixels = (torch.from_numpy(VIEWS).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    wanted = Dinov2Model(SMALL).eval()(pixels).last_hidden_state[:, 0].numpy()
    # In bfloat16 the product before the last norm is rounded, and those before it add about as much. Products that are
    # 2 % too large are five roundings off.
    atol = 3e-6 if precision == "float32" else 2 * ROUNDING * np.abs(wanted).max()
    np.testing.assert_allclose(output.embedding, wanted, atol=atol)
    product = kernels._product
    monkeypatch.setattr(kernels, "_product", lambda *given: product(*given) * 1.02)
    assert (np.abs(fast(VIEWS).embedding - wanted).max() > atol) == taken


def test_they_are_packed_again_where_the_encoder_is_sent(products):
    fast = encoder()
    again = pickle.loads(pickle.dumps(fast))
    products.clear()
    np.testing.assert_array_equal(again(VIEWS).embedding, fast(VIEWS).embedding)
    assert len(products) == 2 * (3 * 6 + 1)
    copy.deepcopy(fast)(VIEWS)
    assert len(products) == 3 * (3 * 6 + 1)


def test_an_encoder_goes_on_without_where_torch_has_none(monkeypatch, tmp_path):
    wanted = encoder()(VIEWS).embedding
    monkeypatch.setenv("EMBEDSHIFT_CACHE", str(tmp_path / "another"))

    def missing(*_):
        raise RuntimeError("torch was built without oneDNN")

    monkeypatch.setattr(kernels, "_pack", missing)
    plain = encoder()
    assert plain.kernels == ()
    np.testing.assert_allclose(plain(VIEWS).embedding, wanted, atol=3e-6)


def test_kernels_that_give_something_else_are_not_taken(monkeypatch, tmp_path):
    wanted, product = encoder()(VIEWS).embedding, kernels._product
    monkeypatch.setenv("EMBEDSHIFT_CACHE", str(tmp_path / "another"))
    monkeypatch.setattr(kernels, "_product", lambda *given: product(*given) * 1.01)
    plain = encoder()
    assert plain.kernels == ()
    np.testing.assert_allclose(plain(VIEWS).embedding, wanted, atol=3e-6)


def test_calls_are_repeated_as_they_lie_in_memory():
    x = torch.randn(1, 5, 3, 8).transpose(1, 2)
    found = calls._repeated(x, 4)
    assert found.shape == (4, 3, 5, 8)
    assert found.transpose(1, 2).is_contiguous()
    assert torch.equal(found[3:], x)


def test_weights_are_what_they_were_after_a_trial_in_another_precision():
    found = encoder()
    before = {name: value.clone() for name, value in found.module.state_dict().items()}
    with found._at("bfloat16"):
        assert torch.bfloat16 in {weight.dtype for weight in found.module.parameters()}
    assert all(torch.equal(value, before[name]) for name, value in found.module.state_dict().items())
    assert found.precision == "float32"
