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
from support.family_models import CASES, save, tower_of
from support.matrix import first_only

pytestmark = pytest.mark.slow

VIEWS = np.random.default_rng(0).integers(0, 256, (3, models.SIZE, models.SIZE, 3), dtype=np.uint8)
PATCHES = (models.SIZE // models.PATCH) ** 2
KINDS = {case.kind: case for case in CASES if case.name is None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("gradients")

    def of(kind):
        if not (root / kind).exists():
            save(KINDS[kind] if kind in KINDS else next(case for case in CASES if case.kind == kind), root / kind)
        return root / kind

    return of


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


@pytest.mark.parametrize(
    "case", first_only(CASES), ids=lambda case: f"{case.kind}-{case.name}" if case.name else case.kind
)
def test_gradients_of_every_family_equal_finite_differences(case, folder):
    encoder = load_encoder(str(folder(case.kind)), embedding=case.name)
    before = encoder(VIEWS)  # in inference mode, which leaves its own tensors in what a model caches
    encoder.module.double()
    with encoder.differentiable() as embed:
        found, wanted = directional(embed, torch.float64)
    assert abs(wanted) > 1e-4, "a slope that is nothing shows nothing"
    # The resampler of Idefics2 has norms and softmax in float32, whatever its weights are.
    assert found == pytest.approx(wanted, rel=1e-3 if (case.kind, case.name) == ("idefics2", "latents") else 1e-4)
    encoder.module.float()
    np.testing.assert_array_equal(encoder(VIEWS).embedding, before.embedding)


def test_gradients_are_those_of_torchs_own_kernels_whatever_a_study_uses(folder):
    encoder = load_encoder(str(folder("dinov2")))
    encoder.use_kernels(["products"])
    encoder(VIEWS)
    with torch.inference_mode(), encoder.differentiable() as embed:
        found, wanted = directional(embed, torch.float32)
        assert found == pytest.approx(wanted, rel=0.02)
    assert all(weight.requires_grad for weight in encoder.module.parameters()), "they learn as before"


def test_other_gradients_than_those_of_float32_are_refused(folder):
    encoder = load_encoder(str(folder("dinov2")), precision="bfloat16")
    with pytest.raises(EmbedshiftError, match="gradients need `precision` float32, not bfloat16"):
        encoder.differentiable().__enter__()


# Relevance and tokens.


def pixels():
    return torch.from_numpy(((VIEWS / 255 - models.MEAN) / models.STD).transpose(0, 3, 1, 2))


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


def eager(case, folder):
    """The library's eager pass in float64: attention of every layer, that of the head, and embeddings."""
    model = case.reference(folder).double()
    done = tower_of(model)(pixels(), output_attentions=True)
    if case.attention == "pool":
        pooling, embedding = probe_attention(model.vision_model.head, done.last_hidden_state)
        return done.attentions, pooling, embedding
    if case.attention == "mean":
        return done.attentions, None, done.last_hidden_state.mean(dim=1)
    projected = case.kind == "clip"
    embedding = model.visual_projection(done.pooler_output) if projected else done.last_hidden_state[:, 0]
    return done.attentions, None, embedding


def positive(weights, gradient):
    """The mean over heads of (gradient * weights)+, `[H, Q, T]` → `[Q][T]`, cell by cell."""
    heads, queries, tokens = weights.shape
    return [
        [sum(max(0.0, weights[h, q, t] * gradient[h, q, t]) for h in range(heads)) / heads for t in range(tokens)]
        for q in range(queries)
    ]


def product(a, b):
    return [[sum(x * y for x, y in zip(row, column, strict=True)) for column in zip(*b, strict=True)] for row in a]


@pytest.mark.parametrize("kind", first_only(["clip", "dinov2_registers", "siglip", "idefics2"]))
def test_relevance_equals_loops_over_an_eager_pass_in_float64(kind, folder):
    case = KINDS[kind]
    encoder = load_encoder(str(folder(kind)))
    target = encoder(VIEWS).embedding[0].astype(float)
    found = Explainer(encoder, ["relevance"])(VIEWS, target)["relevance"]

    layers, pooling, embedding = eager(case, folder(kind))
    weights = [*layers] if pooling is None else [*layers, pooling]
    gradients = torch.autograd.grad((embedding @ torch.from_numpy(target)).sum(), weights)
    for view in range(len(VIEWS)):
        parts = [positive(w[view].detach().numpy(), g[view].numpy()) for w, g in zip(weights, gradients, strict=True)]
        size = len(parts[0])
        rolled = identity = [[float(i == j) for j in range(size)] for i in range(size)]
        for part in parts[: len(layers)]:
            added = product(part, rolled)
            rolled = [[x + y for x, y in zip(*rows, strict=True)] for rows in zip(rolled, added, strict=True)]
        if pooling is not None:
            wanted = product(parts[-1], rolled)[0]
        else:
            without = np.array(rolled) - np.array(identity)
            wanted = without[0] if case.attention == "cls" else without.mean(axis=0)
        wanted = np.array(wanted[-PATCHES:])
        np.testing.assert_allclose(found[view].ravel(), wanted, rtol=1e-4, atol=1e-5 * wanted.max())
        assert wanted.max() > 1.5 * wanted.mean(), "a map that is even shows nothing"


@pytest.mark.parametrize("kind", first_only(["clip", "dinov2"]))
def test_tokens_are_what_each_patch_brings_by_the_last_attention_and_sum_to_all_of_it(kind, folder):
    """By the block's own weights, in float64: head by head, token by token."""
    encoder = load_encoder(str(folder(kind)))
    target = torch.from_numpy(encoder(VIEWS).embedding[0].astype(float))
    found = Explainer(encoder, ["tokens"])(VIEWS, target.numpy())["tokens"]

    model, caught = KINDS[kind].reference(folder(kind)).double(), {}
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
    done = tower(pixels(), output_attentions=True)
    layers, embedding = done.attentions, model.visual_projection(done.pooler_output) if is_clip else done[0][:, 0]
    (gradient,) = torch.autograd.grad((embedding @ target).sum(), [caught["end"]])
    assert not gradient[:, 1:].any(), "the class token alone is read"
    read = gradient[:, 0] * scale
    heads = layers[-1].shape[1]
    values = value(caught["normed"]).unflatten(2, (heads, -1))
    brought = torch.zeros(len(VIEWS), values.shape[1], dtype=torch.float64)
    for h in range(heads):
        width = values.shape[-1]
        back = read @ out.weight[:, h * width : (h + 1) * width]
        for t in range(values.shape[1]):
            brought[:, t] += layers[-1][:, h, 0, t] * (values[:, t, h] * back).sum(dim=1)
    whole = ((caught["attended"][:, 0] - out.bias) * read).sum(dim=1)
    np.testing.assert_allclose(brought.sum(dim=1).detach(), whole.detach(), rtol=1e-6)
    wanted = brought[:, -PATCHES:].detach().numpy()
    np.testing.assert_allclose(found.reshape(len(VIEWS), -1), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    first = brought[:, :-PATCHES].sum(dim=1).detach().numpy()
    np.testing.assert_allclose(found.sum(axis=(1, 2)) + first, whole.detach(), rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "names", "words"),
    [
        (
            lambda of: load_encoder(str(of("blip_2_itm"))),
            ["relevance"],
            "comes from attention for which no rule is known",
        ),
        (lambda of: load_encoder(str(of("idefics")), embedding="latents"), ["relevance"], "no rule is known"),
        (lambda of: wrapped(models.TinyNet()), ["relevance"], "no sequence of similar blocks"),
        (
            lambda of: wrapped(models.SmallTransformer()),
            ["tokens"],
            "its last block has no norm between attention and MLP; run `maps` relevance",
        ),
    ],
)
def test_what_gives_no_maps_is_refused_in_one_line(make, names, words, folder):
    encoder = make(folder)
    with pytest.raises(EmbedshiftError, match=words) as caught:
        Explainer(encoder, names)(VIEWS, np.ones(encoder.dim))
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(encoder.name)


def wrapped(module):
    return embedshift.wrap(module, size=models.SIZE, mean=models.MEAN, std=models.STD, device="cpu")


def test_a_patch_that_alone_differs_alone_has_another_relevance():
    encoder = wrapped(models.SmallTransformer())
    views = np.full((2, models.SIZE, models.SIZE, 3), 128, np.uint8)
    views[1, 8:16, 16:24] = 255
    maps = Explainer(encoder, ["relevance"])(views, encoder(views).embedding[0])["relevance"]
    assert np.ptp(maps[0]) < 1e-6, "without positions, equal patches are equally relevant"
    odd = np.delete(maps[1].ravel(), 6)
    assert np.ptp(odd) < 1e-6 < abs(maps[1].ravel()[6] - odd[0]), "the one that differs differs"


def test_taps_and_maps_do_not_disturb_each_other(folder):
    encoder = load_encoder(str(folder("dinov2")))
    explain, target = Explainer(encoder, ["relevance", "tokens"]), np.ones(encoder.dim)
    plain = explain(VIEWS, target)
    with encoder.observing(["layers", "rollout"]):
        before = encoder(VIEWS)
        with_taps = explain(VIEWS, target)
        after = encoder(VIEWS)
    for name, maps in plain.items():
        np.testing.assert_array_equal(with_taps[name], maps)
    for name, array in before.arrays().items():
        np.testing.assert_array_equal(after.arrays()[name], array)
