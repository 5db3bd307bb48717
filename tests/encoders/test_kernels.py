"""Kernels, chosen by rule, give what torch's own give; the precision of an encoder, chosen by measurement."""

import contextlib
import copy
import logging
import pickle
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import Dinov2Config, Dinov2Model

from embedshift.config import StudyConfig
from embedshift.encoders import device as precision
from embedshift.encoders import kernels
from embedshift.encoders.base import Preprocess
from embedshift.encoders.dissection import HeadsObservation  # which adds itself to the observations
from embedshift.encoders.kernels import PackedLinears
from embedshift.encoders.module import ModuleEncoder
from embedshift.encoders.observations import OBSERVATIONS
from embedshift.encoders.spec import EncoderSpec
from support.mean_colour import MeanColour
from support.speeds import count_passes, set_speeds

VIEWS = np.random.default_rng(1).integers(0, 256, (5, 28, 28, 3), np.uint8)
HALF = (0.5, 0.5, 0.5)
SMALL = Dinov2Config(hidden_size=32, num_hidden_layers=3, num_attention_heads=2, image_size=28, patch_size=7)
# Whether oneDNN has products in bfloat16 here, native or emulated, by torch's own word: with AVX2 alone it has none.
BFLOAT16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
# What rounding to bfloat16, which keeps 8 bits, moves a number by at most, as a relative shift of it.
ROUNDING = 2**-8


@pytest.fixture
def without_gradients():
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


@pytest.fixture
def products(monkeypatch, without_gradients):
    """The shapes that went through oneDNN's product."""
    seen, product = [], kernels._product
    monkeypatch.setattr(kernels, "_product", lambda x, *rest: seen.append(tuple(x.shape)) or product(x, *rest))
    return seen


def read_class_token(module, pixels):
    return module(pixels).last_hidden_state[:, 0]


def encoder(**settings):
    torch.manual_seed(0)
    model = Dinov2Model(SMALL).eval()
    return ModuleEncoder(model, read_class_token, Preprocess(28, HALF, HALF), "small", **{"device": "cpu"} | settings)


CHANGES = {
    "in place": lambda layer: layer.weight.mul_(2),
    "another parameter": lambda layer: setattr(layer, "weight", nn.Parameter(2 * layer.weight)),
    "another precision": lambda layer: layer.double(),
}


def product_of(layer, x):
    """In float64."""
    return functional.linear(x.double(), layer.weight.double(), None if layer.bias is None else layer.bias.double())


@pytest.mark.parametrize("change", CHANGES)
def test_a_linear_layer_is_the_product_and_a_weight_that_changes_is_packed_again(products, change):
    with torch.inference_mode(False), torch.no_grad():  # as a user's module is made
        layer, x = nn.Linear(96, 50, bias=change != "in place"), torch.randn(3, 7, 96)
        packed = PackedLinears(layer, torch.float32)
        with packed.in_use():
            np.testing.assert_allclose(layer(x), product_of(layer, x), atol=1e-6)
        CHANGES[change](layer)
        x = x.to(layer.weight.dtype)
        with packed.in_use():
            found = layer(x)
    np.testing.assert_allclose(found.double(), product_of(layer, x), atol=3e-6)
    assert products == [(3, 7, 96)] * (1 if change == "another precision" else 2)


class Doubled(nn.Linear):
    """A layer with a computation of its own."""

    def forward(self, x):
        return 2 * super().forward(x)


def own_forward(layer):
    layer.forward = lambda x: functional.linear(x, layer.weight) * 3
    return layer


@pytest.mark.parametrize(
    "layer",
    [Doubled(8, 8), own_forward(nn.Linear(8, 8)), nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))],
    ids=["subclass", "own forward", "computed weight"],
)
def test_a_layer_that_computes_otherwise_stays_with_torch(products, layer):
    x = torch.randn(3, 8)
    wanted, before = layer(x), dict(vars(layer))
    with PackedLinears(layer, torch.float32).in_use():
        assert torch.equal(layer(x), wanted)
    assert products == []
    assert vars(layer) == before


def test_the_module_is_as_before_also_after_an_error(products):
    module, seen = nn.Sequential(nn.Linear(8, 8), nn.ReLU()), []
    module[0].register_forward_hook(lambda *_: seen.append(1))
    before, weight = dict(vars(module[0])), module[0].weight
    packed = PackedLinears(module, torch.float32)
    for size in (8, 9):
        with contextlib.suppress(RuntimeError), packed.in_use():
            assert type(module[0]) is nn.Linear
            assert module[0].weight is weight
            module(torch.ones(1, size))
        assert vars(module[0]) == before
    assert (len(products), seen) == (2, [1])


def test_a_pass_with_gradients_has_torchs_own(products):
    """Within the context as well, as an `embed` function that takes a gradient has it."""
    with torch.inference_mode(False), torch.enable_grad():
        layer, x = nn.Linear(8, 4), torch.randn(3, 8, requires_grad=True)
        with PackedLinears(layer, torch.float32).in_use():
            layer(x).sum().backward()
    np.testing.assert_allclose(x.grad, layer.weight.detach().sum(0).expand(3, 8), atol=1e-6)
    assert products == []


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_encoder_on_a_cpu_takes_them_and_gives_what_the_library_gives(products, precision, monkeypatch):
    fast = encoder(precision=precision)
    taken = precision == "float32" or BFLOAT16
    fast.use_kernels(["products"])
    products.clear()
    output = fast(VIEWS)
    # Per block q, k, v, the way out and two of the network.
    assert len(products) == (3 * 6 if taken else 0)
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


def test_weights_are_what_they_were_after_a_trial_in_another_precision(without_gradients):
    found = encoder()
    before = {name: value.clone() for name, value in found.module.state_dict().items()}
    with found.at_precision("bfloat16"):
        assert torch.bfloat16 in {weight.dtype for weight in found.module.parameters()}
    assert all(torch.equal(value, before[name]) for name, value in found.module.state_dict().items())
    assert found.precision == "float32"


def test_an_encoder_is_loaded_by_one_pass_of_one_view(monkeypatch):
    passes = count_passes(monkeypatch)
    encoder()
    assert passes == [1]


@pytest.mark.parametrize(
    ("avx512", "onednn", "precision", "wanted"),
    [
        (True, True, "float32", ("products",)),
        (False, True, "float32", ()),
        (True, True, "bfloat16", ()),
        (True, False, "float32", ()),
    ],
)
def test_kernels_follow_from_processor_torch_and_precision(avx512, onednn, precision, wanted, monkeypatch):
    set_speeds(monkeypatch, avx512=avx512)
    small = encoder()
    assert small.kernels == (), "without a choice"
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: onednn)
    small.precision = precision
    small.choose_kernels()
    assert small.kernels == wanted


def test_the_kernels_of_a_study_are_used_inside_it_alone(products, caplog):
    small = encoder()
    plain = small(VIEWS).embedding
    spec = EncoderSpec(config=StudyConfig(), given=small, kernels=("products",))
    with contextlib.ExitStack() as stack:
        spec.enter(stack)
        np.testing.assert_allclose(small(VIEWS).embedding, plain, atol=1e-5)
        assert small.kernels == ("products",)
    assert len(products) == 3 * 6
    assert caplog.text == ""
    np.testing.assert_array_equal(small(VIEWS).embedding, plain)
    assert len(products) == 3 * 6


def test_kernels_that_are_not_available_are_one_line(caplog, monkeypatch):
    small = encoder()
    for _ in range(2):
        small.use_kernels(["products", "attention"])
    assert "the kernels attention, which this study used at the start, are not available here" in caplog.text
    assert len(caplog.records) == 1
    small.use_kernels([])
    caplog.clear()
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    small.use_kernels(["products"])
    assert "the kernels products, which" in caplog.text
    assert small(VIEWS).embedding.shape == (5, 32)


def test_a_process_that_gets_the_specification_computes_alike(monkeypatch):
    set_speeds(monkeypatch)
    small = encoder(precision="auto")
    spec = EncoderSpec(config=StudyConfig(), given=small)
    with contextlib.ExitStack() as stack:
        spec.enter(stack)
        spec = spec.resolved(small)
        assert spec.precision == "bfloat16"
        assert spec.kernels == small.kernels == ()
        sent = pickle.loads(pickle.dumps(spec))
        sent.enter(stack)
        assert sent.given.kernels == spec.kernels
        np.testing.assert_array_equal(sent.given(VIEWS).embedding, small(VIEWS).embedding)
        np.testing.assert_allclose(copy.deepcopy(small)(VIEWS).embedding, small(VIEWS).embedding, atol=0.02)
    assert small.kernels == ()


@pytest.mark.parametrize("names", [["layers", "rollout"], ["heads"]])
def test_taps_see_packed_layers_as_they_see_torchs_own(names):
    small = encoder()
    assert OBSERVATIONS["heads"] is HeadsObservation
    with small.observing(names):
        wanted = small(VIEWS).arrays()
        small.use_kernels(["products"])
        found = small(VIEWS).arrays()
    assert found.keys() == wanted.keys() == {"embedding", "attention", *names}
    for name, array in found.items():
        np.testing.assert_allclose(array, wanted[name], rtol=0, atol=1e-5 * np.abs(wanted[name]).max())


# Precision and device.


def test_a_slower_precision_is_warned_of_with_the_factor(monkeypatch, caplog):
    set_speeds(monkeypatch, lower=7.6)
    assert encoder(precision="bfloat16").precision == "bfloat16"
    words = "`precision` bfloat16 takes 7.6 times as long as float32 on this processor: use `precision` float32 or auto"
    assert [record.getMessage() for record in caplog.records] == [words]
    set_speeds(monkeypatch, lower=1.0)
    assert encoder(precision="bfloat16").precision == "bfloat16"
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("lower", "error", "wanted"),
    [
        (0.5, 1e-5, "bfloat16"),
        (0.5, 0.5, "float32"),
        (0.5, None, "float32"),
        (0.99, 1e-5, "float32"),
        (3.0, None, "float32"),
    ],
)
def test_auto_is_the_fastest_that_is_near(lower, error, wanted, monkeypatch, caplog):
    set_speeds(monkeypatch, lower=lower, error=error)
    caplog.set_level(logging.INFO)
    small = encoder(precision="auto")
    assert small.precision == wanted
    assert small.module.layernorm.weight.dtype == torch.float32
    assert {weight.dtype for weight in small.module.encoder.layer[0].attention.parameters()} == {getattr(torch, wanted)}
    assert len(caplog.records) == 1
    assert f"`precision` auto is {wanted} for small" in caplog.text
    if wanted == "bfloat16":
        words = r"2\.0 times as fast as float32; cosine distance of its embeddings from those in float32: at most 1e-05"
        assert re.search(words, caplog.text)


def test_the_stated_error_is_that_of_the_encoder(monkeypatch):
    """By hand, of the encoder in both precisions on the same images."""
    full, low = encoder(), encoder(precision="bfloat16")
    monkeypatch.setattr(precision, "timed", lambda work: (1.0 if full.precision == "float32" else 0.5, work()))
    cost = precision.measure_cost(full, "bfloat16")
    images = precision.patterns(precision.IMAGES, 28)
    a, b = (small(images).embedding.astype(np.float64) for small in (full, low))
    wanted = 1 - (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cost.time == 0.5
    np.testing.assert_allclose(cost.largest, wanted.max(), rtol=1e-3)
    np.testing.assert_allclose(cost.mean, wanted.mean(), rtol=1e-3)
    assert cost.largest < precision.LARGEST_ERROR


@pytest.mark.parametrize(
    ("threads", "where", "wanted"),
    [
        (4, torch.device("cpu"), True),
        (4, "cpu", True),
        (3, torch.device("cpu"), False),
        (4, torch.device("cuda:1"), False),
        (4, "mps", False),
    ],
)
def test_an_encoder_takes_all_cores_on_the_cpu_with_a_thread_on_each(monkeypatch, threads, where, wanted):
    monkeypatch.setattr(precision, "cores", lambda: 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert precision.takes_all_cores(SimpleNamespace(device=where)) == wanted
    assert not precision.takes_all_cores(MeanColour()), "it does not say where it computes"
