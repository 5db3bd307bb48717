"""Kernels and precision are chosen by measurement, once: the cache remembers, and nobody can mislead it."""

import json
import logging
import os
import pickle
import re

import numpy as np
import pytest
import torch
from transformers import Dinov2Config, Dinov2Model

from embedshift.encoders import calls, kernels, trial, verdict
from embedshift.encoders.base import Preprocess
from embedshift.encoders.calls import Calls
from embedshift.encoders.module import ModuleEncoder
from embedshift.encoders.spec import EncoderSpec
from embedshift.encoders.verdict import Cost

HALF = (0.5, 0.5, 0.5)
SMALL = Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=7)
VIEWS = np.random.default_rng(1).integers(0, 256, (3, 28, 28, 3), np.uint8)


def read_class_token(module, pixels):
    return module(pixels).last_hidden_state[:, 0]


def read_patches(module, pixels):
    return module(pixels).last_hidden_state[:, 1:].mean(dim=1)


def encoder(read=read_class_token, seed=0, **settings):
    torch.manual_seed(seed)
    return ModuleEncoder(
        Dinov2Model(SMALL).eval(), read, Preprocess(28, HALF, HALF), "small", **{"device": "cpu"} | settings
    )


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty cache."""
    monkeypatch.setenv("EMBEDSHIFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "verdicts"


@pytest.fixture
def passes(monkeypatch):
    """The number of views of every forward pass."""
    seen, run = [], ModuleEncoder._begin
    monkeypatch.setattr(ModuleEncoder, "_begin", lambda self, views: seen.append(len(views)) or run(self, views))
    return seen


@pytest.fixture
def faked(monkeypatch):
    """Sets how many times as fast kernels are, and how many times as long a lower precision takes."""

    def fake(products=2.0, attention=2.0, times=0.5, error=1e-5):
        factors = {"products": products, "attention": attention}
        monkeypatch.setattr(Calls, "times_as_fast", lambda _, kernels, *__: factors[kernels.names[0]])
        cost = Cost(times=times, largest=error, mean=error, pictures=4)
        monkeypatch.setattr(trial.Trials, "_try_cost", lambda *_: cost)

    fake()
    return fake


def loaded(passes, **settings):
    passes.clear()
    return encoder(**settings), len(passes)


# The cache.


def test_what_was_tried_once_is_not_tried_again(passes, cache):
    first, tried = loaded(passes)
    assert tried > 1
    again, tried = loaded(passes)
    assert tried == 1, "the one picture that shows that it can encode"
    assert len(list(cache.iterdir())) == 1
    assert again.kernels == first.kernels
    assert (again._shortcut is None) == (first._shortcut is None)
    np.testing.assert_array_equal(again(VIEWS).embedding, first(VIEWS).embedding)


@pytest.mark.parametrize("other", ["weights", "reader", "threads", "version", "held"])
def test_another_encoder_or_machine_is_tried_anew(other, passes, monkeypatch):
    loaded(passes)
    settings = {"weights": {"seed": 1}, "reader": {"read": read_patches}}.get(other, {})
    if other == "threads":
        monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    if other == "version":
        monkeypatch.setattr(verdict, "versions", lambda: {"torch": "99"})
    if other == "held":
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    assert loaded(passes, **settings)[1] > 1


def test_a_shortcut_that_holds_for_one_reader_is_not_taken_for_another():
    assert encoder()._shortcut is not None
    assert encoder(read=read_patches)._shortcut is None


def test_a_module_of_the_users_own_is_tried_at_every_wrap(passes):
    for _ in range(2):
        assert loaded(passes, shared=True)[1] > 1


def spoil(kind, note):
    text = note.read_text()
    note.unlink()
    if kind == "cut":
        note.write_text(text[:40])
    elif kind == "number":
        note.write_text("7")
    elif kind == "types":
        note.write_text('{"shortcut": "perhaps", "equal": 3}')
    elif kind == "nonsense":
        note.write_text(json.dumps(json.loads(text) | {"factors": {"float32": {"products": float("nan")}}}))
    elif kind == "deep":
        note.write_text("[" * 50_000)
    elif kind == "huge":
        note.write_text(text + " " * 10**6)
    elif kind == "fifo":
        os.mkfifo(note)
    elif kind == "folder":
        note.mkdir()
    elif kind == "link":
        elsewhere = note.parent.parent / "elsewhere.json"
        elsewhere.write_text(text)
        note.symlink_to(elsewhere)


@pytest.mark.parametrize("kind", ["cut", "number", "types", "nonsense", "deep", "huge", "fifo", "folder", "link"])
def test_a_cache_that_is_damaged_or_hostile_counts_for_nothing(kind, passes, cache):
    first, _ = loaded(passes)
    (note,) = cache.iterdir()
    spoil(kind, note)
    again, tried = loaded(passes)
    assert tried > 1
    np.testing.assert_allclose(again(VIEWS).embedding, first(VIEWS).embedding, atol=1e-5)
    if kind == "link":
        assert (cache.parent / "elsewhere.json").is_file()


def test_what_somebody_else_wrote_counts_for_nothing(passes, monkeypatch):
    loaded(passes)
    monkeypatch.setattr(os, "geteuid", lambda: 12_345)
    assert loaded(passes)[1] > 1


def test_a_cache_that_cannot_be_written_is_no_error(passes, monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EMBEDSHIFT_CACHE", str(tmp_path / "file" / "cache"))
    for _ in range(2):
        assert loaded(passes)[1] > 1
    assert caplog.text == ""


def test_the_cache_has_a_bound(passes, cache, monkeypatch):
    monkeypatch.setattr("embedshift.encoders.cache.MOST", 3)
    for seed in range(5):
        loaded(passes, seed=seed)
    assert len(list(cache.iterdir())) == 3
    assert loaded(passes, seed=4)[1] == 1


# Kernels.


def test_a_faster_kernel_is_taken_and_a_slower_is_not(faked):
    assert encoder().kernels == ("products",)
    faked(products=1.02)
    assert encoder(seed=1).kernels == ()


def test_each_kernel_is_a_switch_of_its_own(faked):
    faked(products=0.5)
    assert encoder(precision="bfloat16").kernels == ("attention",)


@pytest.mark.parametrize(("added", "taken"), [(-0.5, ("products",)), (0.0, ()), (4.0, ())])
def test_speed_is_measured_by_the_clock(added, taken, monkeypatch):
    """A clock that only calls move: each reading by one second, a product of ours by more or less."""
    now, product = [0.0], kernels._product

    def clock():
        now[0] += 1.0
        return now[0]

    def slow(*given):
        now[0] += added
        return product(*given)

    monkeypatch.setattr(calls, "clock", clock)
    monkeypatch.setattr(kernels, "_product", slow)
    assert encoder().kernels == taken


def test_a_fast_kernel_that_gives_something_else_is_not_taken(faked, monkeypatch):
    product = kernels._product
    monkeypatch.setattr(kernels, "_product", lambda *given: product(*given) * 1.01)
    assert encoder().kernels == ()


def test_what_a_study_began_with_is_taken(faked, caplog):
    found = encoder()
    with found.taking(()):
        assert found.kernels == ()
        plain = found(VIEWS).embedding
    assert found.kernels == ("products",)
    np.testing.assert_allclose(found(VIEWS).embedding, plain, atol=1e-5)
    assert caplog.text == ""
    with found.taking(("products", "attention")):
        assert found.kernels == ("products",)
    assert "the kernels attention, which this study used at the start, are not available here" in caplog.text
    assert len(caplog.records) == 1


def test_it_travels(faked, monkeypatch):
    spec = EncoderSpec(model="small", given=encoder(precision="auto")).chosen(encoder(precision="auto"))
    assert spec.precision == "bfloat16"
    sent = pickle.loads(pickle.dumps(spec))
    assert sent.kernels == spec.kernels == sent.given.kernels

    def missing(*_):
        raise RuntimeError("no such instructions")

    monkeypatch.setattr(kernels, "_pack", missing)
    there = pickle.loads(pickle.dumps(encoder()))
    assert there.kernels == ()
    assert there(VIEWS).embedding.shape == (3, 32)


# Precision.


def test_a_slower_precision_is_warned_of_with_the_factor(faked, caplog):
    faked(times=7.6)
    for _ in range(2):  # measured, then from the cache
        caplog.clear()
        assert encoder(precision="bfloat16").precision == "bfloat16"
        words = (
            "`precision` bfloat16 takes 7.6 times as long as float32 on this processor: use `precision` float32 or auto"
        )
        assert [record.getMessage() for record in caplog.records] == [words]
        faked(times=1.0)
    assert encoder(seed=1, precision="bfloat16").precision == "bfloat16"
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("times", "error", "wanted"),
    [
        (0.5, 1e-5, "bfloat16"),
        (0.5, 0.5, "float32"),
        (0.5, None, "float32"),
        (0.99, 1e-5, "float32"),
        (3.0, None, "float32"),
    ],
)
def test_auto_is_the_fastest_that_is_near(times, error, wanted, faked, caplog):
    faked(times=times, error=error)
    caplog.set_level(logging.INFO)
    found = encoder(precision="auto")
    assert found.precision == wanted
    assert found.module.layernorm.weight.dtype == torch.float32
    assert {weight.dtype for weight in found.module.encoder.layer[0].attention.parameters()} == {getattr(torch, wanted)}
    assert len(caplog.records) == 1
    assert f"`precision` auto is {wanted} for small" in caplog.text
    if wanted == "bfloat16":
        words = r"2\.0 times as fast as float32; cosine distance of its embeddings from those in float32: at most 1e-05"
        assert re.search(words, caplog.text)


def test_the_stated_error_is_that_of_the_encoder(monkeypatch):
    """By hand, of the encoder in both precisions on the same pictures."""
    full, low = encoder(), encoder(precision="bfloat16")
    monkeypatch.setattr(trial, "timed", lambda work: (1.0 if full.precision == "float32" else 0.5, work()))
    monkeypatch.setenv("EMBEDSHIFT_CACHE", os.environ["EMBEDSHIFT_CACHE"] + "-other")
    with full.taking(()):
        cost = full._trials().cost("bfloat16")
        pictures = trial._pictures(trial.PICTURES, 28)
        a, b = (each(pictures).embedding.astype(np.float64) for each in (full, low))
    wanted = 1 - (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert (cost.times, cost.pictures) == (0.5, 4)
    # The two may have other kernels at work: one more rounding.
    assert wanted.max() / 4 < cost.largest < 4 * wanted.max()
    assert cost.mean <= cost.largest < trial.MOST_ERROR
