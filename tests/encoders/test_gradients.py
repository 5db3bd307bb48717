"""Gradients through an encoder against finite differences, and the maps that are made of them against slow loops."""

import numpy as np
import pytest
import torch
from torch.nn import functional

import embedshift
from embedshift import EmbedshiftError
from embedshift.encoders import load_encoder
from embedshift.encoders.relevance import Explainer
from support import models
from support.family_models import BY_KIND, checkpoint, eager, encoder, pixels, tower_of, views
from support.matrix import first_only

pytestmark = pytest.mark.slow

VIEWS = views()
PATCHES = (models.SIZE // models.PATCH) ** 2
# One for each way in which an embedding is read from a family's module.
READ = (
    ("clip", None), ("dinov2", None), ("blip_itm", None), ("blip_2_itm", None), ("blip_2_caption", None),
    ("kosmos_2", None), ("kosmos_2", "latents"), ("idefics", "latents"), ("idefics2", None), ("idefics2", "latents"),
    ("idefics3", "latents"),
)  # fmt: skip


def directional(embed, dtype):
    """The derivative of a mixture of the embedding along a direction of the pixels: by gradient, by differences."""
    rng = np.random.default_rng(1)
    pixels = torch.from_numpy(VIEWS[:1].transpose(0, 3, 1, 2).copy()).to(dtype)
    direction = torch.from_numpy(rng.normal(size=pixels.shape)).to(dtype)
    start = pixels.clone().requires_grad_()
    embedding = embed(start)
    mixture = torch.from_numpy(rng.normal(size=embedding.shape[1])).to(dtype)
    (gradient,) = torch.autograd.grad((embedding * mixture).sum(), [start])
    step = 1e-2
    with torch.no_grad():
        above, below = ((embed(pixels + sign * step * direction) * mixture).sum() for sign in (1, -1))
    return (gradient * direction).sum().item(), ((above - below) / (2 * step)).item()


@pytest.mark.parametrize(("kind", "name"), first_only(READ))
def test_gradients_of_every_family_equal_finite_differences(kind, name):
    loaded = encoder(kind, name)
    before = loaded(VIEWS)  # in inference mode, which leaves its own tensors in what a model caches
    loaded.module.double()
    with loaded.differentiable() as embed:
        found, wanted = directional(embed, torch.float64)
    assert abs(wanted) > 1e-4, "a slope that is nothing shows nothing"
    # The resampler of Idefics2 has norms and softmax in float32, whatever its weights are.
    assert found == pytest.approx(wanted, rel=1e-3 if (kind, name) == ("idefics2", "latents") else 1e-4)
    loaded.module.float()
    np.testing.assert_array_equal(loaded(VIEWS).embedding, before.embedding)


def test_gradients_are_torchs_own_in_float32_whatever_a_study_uses():
    loaded = load_encoder(str(checkpoint("dinov2")))
    loaded.use_kernels(["products"])
    loaded(VIEWS)
    with torch.inference_mode(), loaded.differentiable() as embed:
        found, wanted = directional(embed, torch.float32)
        assert found == pytest.approx(wanted, rel=0.02)
        assert not any(weight.requires_grad for weight in loaded.module.parameters())
    assert all(weight.requires_grad for weight in loaded.module.parameters()), "they learn as before"
    loaded.precision = "bfloat16"
    with pytest.raises(EmbedshiftError, match="gradients need `precision` float32, not bfloat16"):
        loaded.differentiable().__enter__()


# Relevance and tokens.


def probe_attention(head, tokens):
    """SigLIP's pooling head, its attention written out: weights `[B, H, 1, T]`, embedding."""
    module, probe = head.attention, head.probe.repeat(len(tokens), 1, 1)
    weights, biases = module.in_proj_weight.chunk(3), module.in_proj_bias.chunk(3)
    q, k, v = (
        functional.linear(x, weight, bias).unflatten(2, (module.num_heads, -1)).transpose(1, 2)
        for x, weight, bias in zip((probe, tokens, tokens), weights, biases, strict=True)
    )
    attention = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(-1)
    pooled = module.out_proj((attention @ v).transpose(1, 2).flatten(2))
    return attention, (pooled + head.mlp(head.layernorm(pooled)))[:, 0]


def slow_pass(kind):
    """The library's eager pass in float64: attention of every layer, that of the head, and embeddings."""
    model, case = eager(kind, torch.float64), BY_KIND[kind]
    done = tower_of(model)(pixels(VIEWS, torch.float64), output_attentions=True)
    if case.attention == "pool":
        pooling, embedding = probe_attention(model.vision_model.head, done.last_hidden_state)
        return done.attentions, pooling, embedding
    if case.attention == "mean":
        return done.attentions, None, done.last_hidden_state.mean(dim=1)
    embedding = model.visual_projection(done.pooler_output) if kind == "clip" else done.last_hidden_state[:, 0]
    return done.attentions, None, embedding


@pytest.mark.parametrize("kind", first_only(["clip", "dinov2_registers", "siglip", "idefics2"]))
def test_relevance_is_the_published_rule_over_an_eager_pass_in_float64(kind):
    target = encoder(kind)(VIEWS).embedding[0].astype(float)
    found = Explainer(encoder(kind), ["relevance"])(VIEWS, target)["relevance"]

    layers, pooling, embedding = slow_pass(kind)
    weights = [*layers] if pooling is None else [*layers, pooling]
    gradients = torch.autograd.grad((embedding @ torch.from_numpy(target)).sum(), weights)
    for view in range(len(VIEWS)):
        # The mean over heads of (gradient * weights)+.
        products = [(w * g)[view].detach().numpy() for w, g in zip(weights, gradients, strict=True)]
        parts = [np.maximum(each, 0).mean(axis=0) for each in products]
        rolled = identity = np.eye(len(parts[0]))
        for part in parts[: len(layers)]:
            rolled = rolled + part @ rolled
        if pooling is not None:
            wanted = (parts[-1] @ rolled)[0]
        else:
            without = rolled - identity
            wanted = without[0] if BY_KIND[kind].attention == "cls" else without.mean(axis=0)
        wanted = wanted[-PATCHES:]
        np.testing.assert_allclose(found[view].ravel(), wanted, rtol=1e-4, atol=1e-5 * wanted.max())
        assert wanted.max() > 1.5 * wanted.mean(), "a map that is even shows nothing"


@pytest.mark.parametrize("kind", first_only(["clip", "dinov2"]))
def test_tokens_are_what_each_patch_brings_by_the_last_attention_and_sum_to_all_of_it(kind):
    """By the block's own weights, in float64."""
    target = torch.from_numpy(encoder(kind)(VIEWS).embedding[0].astype(float))
    found = Explainer(encoder(kind), ["tokens"])(VIEWS, target.numpy())["tokens"]

    model, caught = BY_KIND[kind].reference(checkpoint(kind)).double(), {}
    is_clip = kind == "clip"
    tower = model.vision_model if is_clip else model
    block = (tower.encoder.layers if is_clip else tower.encoder.layer)[-1]
    norm, value, out, scale = (
        (block.layer_norm1, block.self_attn.v_proj, block.self_attn.out_proj, 1.0)
        if is_clip
        else (block.norm1, block.attention.v_proj, block.attention.o_proj, block.layer_scale1.lambda1)
    )
    norm.register_forward_hook(lambda _m, _i, output: caught.update(normed=output))
    out.register_forward_hook(lambda _m, _i, output: caught.update(attended=output))
    block.register_forward_hook(lambda _m, _i, output: caught.update(end=output))
    done = tower(pixels(VIEWS, torch.float64), output_attentions=True)
    layers, embedding = done.attentions, model.visual_projection(done.pooler_output) if is_clip else done[0][:, 0]
    (gradient,) = torch.autograd.grad((embedding @ target).sum(), [caught["end"]])
    assert not gradient[:, 1:].any(), "the class token alone is read"
    read = gradient[:, 0] * scale
    heads = layers[-1].shape[1]
    values = value(caught["normed"]).unflatten(2, (heads, -1))
    back = (read @ out.weight).unflatten(1, (heads, -1))
    brought = torch.einsum("bht,bthd,bhd->bt", layers[-1][:, :, 0], values, back)
    whole = ((caught["attended"][:, 0] - out.bias) * read).sum(dim=1)
    np.testing.assert_allclose(brought.sum(dim=1).detach(), whole.detach(), rtol=1e-6)
    wanted = brought[:, -PATCHES:].detach().numpy()
    np.testing.assert_allclose(found.reshape(len(VIEWS), -1), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    first = brought[:, :-PATCHES].sum(dim=1).detach().numpy()
    np.testing.assert_allclose(found.sum(axis=(1, 2)) + first, whole.detach(), rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "names", "words"),
    [
        (lambda: encoder("blip_2_itm"), ["relevance"], "comes from attention for which no rule is known"),
        (lambda: encoder("idefics", "latents"), ["relevance"], "no rule is known"),
        (lambda: wrapped(models.TinyNet()), ["relevance"], "no sequence of similar blocks"),
        (
            lambda: wrapped(models.SmallTransformer()), ["tokens"],
            "its last block has no norm between attention and MLP; run `maps` relevance",
        ),
    ],
)  # fmt: skip
def test_what_gives_no_maps_is_refused_in_one_line(make, names, words):
    loaded = make()
    with pytest.raises(EmbedshiftError, match=words) as caught:
        Explainer(loaded, names)(VIEWS, np.ones(loaded.dim))
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(loaded.name)


def wrapped(module):
    return embedshift.wrap(module, size=models.SIZE, mean=models.MEAN, std=models.STD, device="cpu")


def test_observations_and_maps_do_not_disturb_each_other():
    dinov2 = encoder("dinov2")
    explain, target = Explainer(dinov2, ["relevance", "tokens"]), np.ones(dinov2.dim)
    plain = explain(VIEWS, target)
    with dinov2.observing(["layers", "rollout"]):
        before = dinov2(VIEWS)
        with_taps = explain(VIEWS, target)
        after = dinov2(VIEWS)
    for name, maps in plain.items():
        np.testing.assert_array_equal(with_taps[name], maps)
    for name, array in before.arrays().items():
        np.testing.assert_array_equal(after.arrays()[name], array)
