"""What makes a pass faster leaves its output as it is: weights cast once, compilation."""

import copy
import pickle

import numpy as np
import pytest
import torch
from transformers import Dinov2Config, Dinov2Model

import embedshift
from embedshift import EmbedshiftError
from embedshift.encoders.base import Preprocess
from embedshift.encoders.module import ModuleEncoder

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


def encoder(model, read=read_class_token, **settings):
    return ModuleEncoder(copy.deepcopy(model), read, Preprocess(28, HALF, HALF), "small", device="cpu", **settings)


def by_hand(model, read):
    """The library's own forward pass."""
    pixels = (torch.from_numpy(VIEWS).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    with torch.inference_mode():
        return read(model, pixels).numpy()


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


def test_what_cannot_be_compiled_is_one_line_and_goes_on_without(model, monkeypatch):
    found = encoder(model)
    monkeypatch.setattr("embedshift.encoders.module.compiled", lambda _: lambda *_: [][0])
    words = r"^`compile`: small cannot be compiled here .* run without it, or in smaller batches$"
    with pytest.raises(EmbedshiftError, match=words), found.compiling(4):
        pytest.fail("it was entered")
    np.testing.assert_allclose(found(VIEWS).embedding, by_hand(model, read_class_token), atol=2e-6)
