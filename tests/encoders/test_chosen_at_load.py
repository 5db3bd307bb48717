"""What an encoder and a study choose by measurement: the shortcut, the precision, the kernels."""

import copy
import logging
import pickle
import re

import numpy as np
import pytest
import torch
from transformers import Dinov2Config, Dinov2Model

from embedshift.config import StudyConfig
from embedshift.encoders import kernels, precision
from embedshift.encoders.base import Preprocess
from embedshift.encoders.module import ModuleEncoder
from embedshift.encoders.spec import EncoderSpec
from support.speeds import count_passes, set_speeds

HALF = (0.5, 0.5, 0.5)
SMALL = Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=7)
VIEWS = np.random.default_rng(1).integers(0, 256, (3, 28, 28, 3), np.uint8)
MANY = 10**6


def read_class_token(module, pixels):
    return module(pixels).last_hidden_state[:, 0]


def read_patches(module, pixels):
    return module(pixels).last_hidden_state[:, 1:].mean(dim=1)


def encoder(read=read_class_token, **settings):
    torch.manual_seed(0)
    return ModuleEncoder(
        Dinov2Model(SMALL).eval(), read, Preprocess(28, HALF, HALF), "small", **{"device": "cpu"} | settings
    )


def chosen(views=MANY, **settings):
    small = encoder(**settings)
    small.choose_kernels(views, batch=40)
    return small


def missing(*_):
    raise RuntimeError("no such instructions")


# The shortcut.


def test_the_shortcut_is_used_only_where_the_class_token_alone_is_read():
    assert encoder()._shortcut is not None
    assert encoder(read=read_patches)._shortcut is None


def test_an_encoder_is_loaded_by_two_passes_of_one_view(monkeypatch):
    passes = count_passes(monkeypatch)
    encoder()
    assert passes == [1, 1], "one image, and the same image by the shortcut"


# Kernels.


def test_faster_kernels_are_used_and_slower_are_not(monkeypatch):
    set_speeds(monkeypatch, packed=1.1)
    assert chosen().kernels == ("products",)
    set_speeds(monkeypatch, packed=1.02)
    assert chosen().kernels == ()


def test_a_run_of_less_than_a_minute_is_not_timed(monkeypatch):
    set_speeds(monkeypatch, seconds=1.0 * torch.get_num_threads())  # a second on all threads
    passes = count_passes(monkeypatch)
    small = encoder()
    passes.clear()
    small.choose_kernels(59, batch=40)
    assert small.kernels == ()
    assert passes == [1]
    small.choose_kernels(61, batch=40)
    assert small.kernels == ("products",)


def test_without_a_choice_an_encoder_uses_torchs_own(monkeypatch):
    set_speeds(monkeypatch)
    assert encoder().kernels == ()


def test_a_fast_kernel_that_gives_something_else_is_not_used(monkeypatch):
    set_speeds(monkeypatch)
    product = kernels._product
    monkeypatch.setattr(kernels, "_product", lambda *given: product(*given) * 1.01)
    assert chosen().kernels == ()


def test_an_encoder_goes_on_without_where_torch_has_none(monkeypatch):
    set_speeds(monkeypatch)
    wanted = chosen()(VIEWS).embedding
    monkeypatch.setattr(kernels, "_pack", missing)
    plain = chosen()
    assert plain.kernels == ()
    np.testing.assert_allclose(plain(VIEWS).embedding, wanted, atol=3e-6)


def test_float16_stays_with_torch():
    small = encoder()
    small.precision = "float16"
    small.choose_kernels(MANY, batch=40)
    assert small.kernels == ()


def test_the_kernels_of_a_study_are_used_inside_it_alone(monkeypatch, caplog):
    small = encoder()
    plain = small(VIEWS).embedding
    spec = EncoderSpec(config=StudyConfig(), given=small, kernels=("products",))
    products, product = [], kernels._product
    monkeypatch.setattr(kernels, "_product", lambda *given: products.append(1) or product(*given))
    with spec.in_use():
        np.testing.assert_allclose(small(VIEWS).embedding, plain, atol=1e-5)
        assert small.kernels == ("products",)
    assert len(products) == 2 * 6 + 1
    assert caplog.text == ""
    np.testing.assert_array_equal(small(VIEWS).embedding, plain)
    assert len(products) == 2 * 6 + 1


def test_kernels_that_are_not_available_are_one_line(caplog, monkeypatch):
    small = encoder()
    for _ in range(2):
        small.use_kernels(["products", "attention"])
    assert "the kernels attention, which this study used at the start, are not available here" in caplog.text
    assert len(caplog.records) == 1
    small.use_kernels([])
    caplog.clear()
    monkeypatch.setattr(kernels, "_pack", missing)
    small.use_kernels(["products"])
    assert "the kernels products, which" in caplog.text
    assert small(VIEWS).embedding.shape == (3, 32)


def test_a_process_that_gets_the_specification_computes_alike(monkeypatch):
    set_speeds(monkeypatch)
    small = encoder(precision="auto")
    spec = EncoderSpec(config=StudyConfig(), given=small)
    with spec.in_use():
        spec = spec.resolved(small, MANY)
        assert spec.precision == "bfloat16"
        assert spec.kernels == small.kernels  # none without AVX-512
        sent = pickle.loads(pickle.dumps(spec))
        with sent.in_use():
            assert sent.given.kernels == spec.kernels
            np.testing.assert_array_equal(sent.given(VIEWS).embedding, small(VIEWS).embedding)
        np.testing.assert_allclose(copy.deepcopy(small)(VIEWS).embedding, small(VIEWS).embedding, atol=0.02)
    assert small.kernels == ()


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


def test_a_pass_that_other_work_makes_long_makes_no_study_long(monkeypatch):
    seconds = iter([9.0, 0.001, 9.0])
    monkeypatch.setattr(kernels, "timed", lambda work: (next(seconds), work()))
    assert chosen(views=1_000).kernels == ()


def test_whether_a_study_is_long_is_timed_on_one_thread(monkeypatch):
    """Threads that wait for each other beside other work take a hundred times as long."""
    threads = []
    monkeypatch.setattr(kernels, "timed", lambda work: (threads.append(torch.get_num_threads()) or 0.001, work()))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert chosen(views=1_000).kernels == ()
        assert (set(threads), torch.get_num_threads()) == ({1}, 2)
    finally:
        torch.set_num_threads(before)
