"""What an encoder and a study choose: the kernels by rule, the precision by measurement."""

import contextlib
import copy
import logging
import pickle
import re

import numpy as np
import pytest
import torch
from transformers import Dinov2Config, Dinov2Model

from embedshift.config import StudyConfig
from embedshift.encoders import device as precision
from embedshift.encoders import kernels
from embedshift.encoders.base import Preprocess
from embedshift.encoders.module import ModuleEncoder
from embedshift.encoders.spec import EncoderSpec
from support.speeds import count_passes, set_speeds

HALF = (0.5, 0.5, 0.5)
SMALL = Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=7)
VIEWS = np.random.default_rng(1).integers(0, 256, (3, 28, 28, 3), np.uint8)


def read_class_token(module, pixels):
    return module(pixels).last_hidden_state[:, 0]


def encoder(read=read_class_token, **settings):
    torch.manual_seed(0)
    return ModuleEncoder(
        Dinov2Model(SMALL).eval(), read, Preprocess(28, HALF, HALF), "small", **{"device": "cpu"} | settings
    )


def chosen(**settings):
    small = encoder(**settings)
    small.choose_kernels()
    return small


def test_an_encoder_is_loaded_by_one_pass_of_one_view(monkeypatch):
    passes = count_passes(monkeypatch)
    encoder()
    assert passes == [1]


# Kernels.


@pytest.mark.parametrize(
    ("avx512", "precision", "wanted"),
    [(True, "float32", ("products",)), (False, "float32", ()), (True, "bfloat16", ()), (True, "float16", ())],
)
def test_kernels_follow_from_processor_and_precision(avx512, precision, wanted, monkeypatch):
    set_speeds(monkeypatch, avx512=avx512)
    small = encoder()
    small.precision = precision
    small.choose_kernels()
    assert small.kernels == wanted


def test_without_a_choice_an_encoder_uses_torchs_own(monkeypatch):
    set_speeds(monkeypatch)
    assert encoder().kernels == ()


def test_an_encoder_goes_on_without_where_torch_has_none(monkeypatch):
    set_speeds(monkeypatch)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert chosen().kernels == ()


def test_the_kernels_of_a_study_are_used_inside_it_alone(monkeypatch, caplog):
    small = encoder()
    plain = small(VIEWS).embedding
    spec = EncoderSpec(config=StudyConfig(), given=small, kernels=("products",))
    products, product = [], kernels._product
    monkeypatch.setattr(kernels, "_product", lambda *given: products.append(1) or product(*given))
    with contextlib.ExitStack() as stack:
        spec.enter(stack)
        np.testing.assert_allclose(small(VIEWS).embedding, plain, atol=1e-5)
        assert small.kernels == ("products",)
    assert len(products) == 2 * 6
    assert caplog.text == ""
    np.testing.assert_array_equal(small(VIEWS).embedding, plain)
    assert len(products) == 2 * 6


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
    assert small(VIEWS).embedding.shape == (3, 32)


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
    with small.observing(names):
        wanted = small(VIEWS).arrays()
        small.use_kernels(["products"])
        found = small(VIEWS).arrays()
    assert found.keys() == wanted.keys() == {"embedding", "attention", *names}
    for name, array in found.items():
        np.testing.assert_allclose(array, wanted[name], rtol=0, atol=1e-5 * np.abs(wanted[name]).max())


# Precision.


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
