"""What makes a pass faster leaves its output as it is: weights cast once, compilation, also of a whole study."""

import copy
import pickle

import numpy as np
import polars as pl
import pytest
import torch
from transformers import Dinov2Config, Dinov2Model

import embedshift
from embedshift import EmbedshiftError
from embedshift.encoders.base import Preprocess
from embedshift.encoders.module import ModuleEncoder
from support import command, models, studies

VIEWS = np.random.default_rng(1).integers(0, 256, (5, 28, 28, 3), np.uint8)
HALF = (0.5, 0.5, 0.5)
SMALL = Dinov2Config(
    hidden_size=32, num_hidden_layers=3, num_attention_heads=2, image_size=28, patch_size=7, layerscale_value=0.5
)


def read_class_token(module, pixels):
    return module(pixels).last_hidden_state[:, 0]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Dinov2Model(SMALL).eval()


def encoder(model, **settings):
    module = copy.deepcopy(model)
    return ModuleEncoder(module, read_class_token, Preprocess(28, HALF, HALF), "small", device="cpu", **settings)


def test_the_users_own_module_gives_what_it_gave_outside_the_encoder(model):
    own = copy.deepcopy(model)
    before = own(torch.ones(1, 3, 28, 28)).last_hidden_state
    wrapped = embedshift.wrap(own, size=28, mean=HALF, std=HALF, embed=read_class_token, precision="bfloat16")
    wrapped(VIEWS)
    assert torch.equal(own(torch.ones(1, 3, 28, 28)).last_hidden_state, before)
    assert {weight.dtype for weight in own.parameters()} == {torch.float32}


def test_weights_cast_once_give_what_autocast_gives_to_rounding(model):
    once, always = (encoder(model, precision="bfloat16", shared=shared) for shared in (False, True))
    assert once.module.get_parameter("embeddings.patch_embeddings.projection.weight").dtype == torch.bfloat16
    assert once.weights_hash == always.weights_hash
    wanted = always(VIEWS).arrays()
    # Not to the bit: weights that are cast go through oneDNN, and only where the processor has products in bfloat16 do
    # the two round alike. Elsewhere a product moves by up to 2**-8 of itself, is added to a stream in float32 that is
    # larger, and is brought to size by a norm: one such rounding of the largest value has room for all of them.
    rounding = 2**-8

    def off(found):
        return {name for name, array in found.items() if not same(array, wanted[name], rounding)}

    assert once(VIEWS).arrays().keys() == wanted.keys() == {"embedding", "attention"}
    assert off(once(VIEWS).arrays()) == set()
    assert off(encoder(scaled(model, 1.02), precision="bfloat16")(VIEWS).arrays()) == {"embedding"}


def same(found, wanted, rounding):
    return np.abs(found - wanted).max() <= rounding * np.abs(wanted).max()


def scaled(model, factor):
    """The model with all its products that much larger."""
    found = copy.deepcopy(model)
    for part in found.modules():
        if isinstance(part, torch.nn.Linear | torch.nn.Conv2d):
            for weight in part.parameters():
                weight.data.mul_(factor)
    return found


# Compilation.


@pytest.mark.slow
@pytest.mark.matrix
@pytest.mark.parametrize("kernels", [[], ["products"]])
def test_compiled_is_equal_to_rounding_and_travels(model, kernels):
    plain, fast = encoder(model), encoder(model)
    fast.use_kernels(kernels)
    with plain.observing(["layers"]), fast.observing(["layers"]), fast.compiling(6):
        assert fast._forward is not fast.embed
        for views in (VIEWS, VIEWS[:2, ::-1].copy()):  # fewer than it was compiled for
            wanted, found = plain(views).arrays(), fast(views).arrays()
            assert found.keys() == wanted.keys() == {"embedding", "attention", "layers"}
            for name, array in found.items():
                np.testing.assert_allclose(array, wanted[name], atol=1e-5)
    with fast.compiling(6):  # what was compiled before knows of layers
        assert fast(VIEWS).arrays().keys() == {"embedding", "attention"}
        for name, array in fast(VIEWS).arrays().items():
            np.testing.assert_allclose(array, plain(VIEWS).arrays()[name], atol=1e-5)
        sent = pickle.dumps(fast)
    np.testing.assert_allclose(fast(VIEWS).embedding, plain(VIEWS).embedding, atol=0 if not kernels else 1e-5)
    again = pickle.loads(sent)
    np.testing.assert_allclose(again(VIEWS).embedding, plain(VIEWS).embedding, atol=1e-5)
    with again.compiling(6):
        np.testing.assert_allclose(again(VIEWS).embedding, plain(VIEWS).embedding, atol=1e-5)


def test_what_cannot_be_compiled_is_one_line_and_goes_on_without(model, monkeypatch, tmp_path):
    found, plain = encoder(model), encoder(model)(VIEWS).embedding
    monkeypatch.setattr("embedshift.encoders.module.compiled", lambda _: lambda *_: [][0])
    words = r"^`compile`: small cannot be compiled here .* run without it, or in smaller batches$"
    with pytest.raises(EmbedshiftError, match=words), found.compiling(4):
        pytest.fail("it was entered")
    np.testing.assert_array_equal(found(VIEWS).embedding, plain)
    with pytest.raises(EmbedshiftError, match=r"^colours cannot be compiled: .*; run without it$") as caught:
        run(tmp_path / "study", models.Colours(), compile=True)
    assert caught.value.exit_code == 2
    assert list((tmp_path / "study").rglob("part-*")) == []


def run(out, model, **settings):
    given = {"shard_size": 2, "batch_size": 10, "workers": 0} | settings
    return embedshift.run(studies.pictures(3), out=out, model=model, **given)


def traced():
    return torch._dynamo.utils.counters["frames"]["ok"]


@pytest.mark.slow
@pytest.mark.matrix
def test_a_compiled_study_is_another_one_with_the_same_rows_to_rounding_that_goes_on(tmp_path, monkeypatch, capsys):
    model, before = str(studies.checkpoint("dinov2")), traced()
    plain = run(tmp_path / "plain", model)
    assert traced() == before
    compiled = run(tmp_path / "compiled", model, compile=True)
    assert traced() > before, "nothing was compiled"
    found, wanted = (study.rows().collect() for study in (compiled, plain))
    assert found.schema == wanted.schema
    assert len(found) == 3 * 10
    for name, kind in found.schema.items():
        if kind.is_nested() or kind.is_float():
            columns = [rows[name].drop_nulls() for rows in (found, wanted)]
            a, b = ((each.explode() if kind.is_nested() else each.cast(pl.Float64)).to_numpy() for each in columns)
            np.testing.assert_allclose(a, b, atol=1e-4, err_msg=name)
        else:
            assert found[name].equals(wanted[name], null_equal=True), name
    for study, there, now in ((compiled, "true", "null"), (plain, "null", "true")):
        assert study.info()["identity"].get("compile") == (True if there == "true" else None)
        with pytest.raises(EmbedshiftError, match=rf"another study: compile: {there} there, {now} now\.") as caught:
            run(study.folder, model, compile=now == "true")
        assert caught.value.exit_code == 2
    parts = [compiled.folder / "shards" / f"part-0000{index}.parquet" for index in range(2)]
    kept = parts[1].stat().st_mtime_ns
    parts[0].unlink()
    arguments = ["--shard-size", 2, "--batch-size", 10, "--workers", 0, "--no-report", "--model", model, "--compile"]
    done = command.call(monkeypatch, capsys, "run", studies.pictures(3), "--out", compiled.folder, *arguments)
    assert done.code == 0, done.err
    assert parts[1].stat().st_mtime_ns == kept
    assert compiled.rows().collect().equals(found, null_equal=True), "to the bit"
