"""The exact split of a shift: against a slow one in float64, on every family, and with heads planted in a model."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from embedshift import load_encoder
from embedshift.encoders.dissection import HeadContributions, block_parts, split, token_contributions, unpack
from embedshift.encoders.dissection.anatomy import Anatomy
from embedshift.encoders.dissection.secant import pull_back
from embedshift.errors import UsageError
from support import models
from support.family_models import BY_KIND, eager, encoder, pixels
from support.heads_by_hand import NAMED, contributions, norm_matrix, unit_matrix
from support.library_models import SMALL, make_open_clip, make_timm
from support.matrix import first_only
from support.once import made

pytestmark = pytest.mark.slow

DEPTH = 3
# Each tower of transformers, and what is behind it.
FAMILIES = (
    ("clip", None), ("siglip", None), ("siglip2", None), ("blip_itm", None), ("blip_caption", None),
    ("blip_2_itm", None), ("blip_2_caption", None), ("kosmos_2", None), ("idefics", None), ("idefics2", None),
    ("idefics3", None), ("idefics3", "latents"), ("dinov2", None), ("dinov2_registers", None), ("dinov3", None),
    ("vit", None), ("deit", None),
)  # fmt: skip
TIMM = (
    "vit_tiny_patch16_224", "vit_base_patch16_gap_224", "vit_base_patch16_siglip_224", "deit3_small_patch16_224",
    "vit_small_patch14_reg4_dinov2", "vit_small_patch16_dinov3", "eva02_tiny_patch14_224", "beit_base_patch16_224",
    "deit_tiny_distilled_patch16_224",
)  # fmt: skip
OPEN_CLIP = {
    "plain": {},
    "layer scale": {"ls_init_value": 0.3},
    "attentional pool": {"attentional_pool": True, "attn_pooler_heads": 4, "attn_pooler_queries": 6},
    "average": {"pool_type": "avg"},
}


def timm_encoder(name: str, **settings):
    return load_encoder(str(made(make_timm, name, **settings)))


def open_clip_encoder(kind: str):
    return load_encoder(str(made(make_open_clip, layers=DEPTH, **OPEN_CLIP[kind])))


def noise(loaded, count: int = 4) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, loaded.size, loaded.size, 3), np.uint8)


def as_pixels(views: np.ndarray) -> Tensor:
    return torch.from_numpy(views).permute(0, 3, 1, 2).float()


def split_of(loaded, views: np.ndarray) -> HeadContributions:
    anatomy = Anatomy(loaded.tower)
    return split(anatomy, block_parts(anatomy, as_pixels(views[:1])), block_parts(anatomy, as_pixels(views[1:])))


def check_exact(loaded) -> None:
    """Contributions sum to 1; the study's own pass, observed by heads and layers at once, gives them too, unchanged."""
    views = noise(loaded)
    found = split_of(loaded, views)
    np.testing.assert_allclose(found.total, 1, rtol=0, atol=1e-4)
    assert found.rest.abs().max() < 1e-4
    assert (found.heads.abs().amax(dim=(0, 1)) > 1e-4).all(), "every head carries something"
    plain = loaded(views)
    with loaded.observing(["heads", "rollout"]):
        output = loaded(views)
    np.testing.assert_array_equal(output.embedding, plain.embedding)
    np.testing.assert_array_equal(output.attention, plain.attention)
    kept = torch.from_numpy(output.observed["heads"])
    anatomy = Anatomy(loaded.tower)
    assert bool(kept.shape[1]) == anatomy.readout.first_only
    if kept.shape[1]:
        again = split(anatomy, unpack(anatomy, kept[:1]), unpack(anatomy, kept[1:]))
        torch.testing.assert_close(again.heads, found.heads, rtol=0, atol=1e-5)
        torch.testing.assert_close(again.mlps, found.mlps, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("kind", "name"), first_only(FAMILIES))
def test_families_of_transformers(kind: str, name: str | None):
    check_exact(encoder(kind, name))


@pytest.mark.parametrize("name", first_only(TIMM))
def test_families_of_timm(name: str):
    check_exact(timm_encoder(name, **SMALL | {"depth": DEPTH}))


@pytest.mark.parametrize("kind", first_only(OPEN_CLIP))
def test_families_of_open_clip(kind: str):
    check_exact(open_clip_encoder(kind))


@pytest.mark.parametrize(("load", "words"), [
    (lambda: encoder("kosmos_2", "latents"), r"cannot be split exactly: its parts add up to [\d.]+ of a shift; run"),
    (lambda: timm_encoder("resnet18", layers=(1, 1, 1, 1), channels=(8, 16, 24, 32)), "has blocks whose outputs are"),
    (
        lambda: timm_encoder("swin_tiny_patch4_window7_224", depths=(1, 1, 1, 1), embed_dim=24),
        r"has blocks whose outputs are not.*; run without `heads`",
    ),
])  # fmt: skip
def test_models_that_are_no_stack_of_blocks_are_refused(load, words: str):
    with pytest.raises(UsageError, match=words):
        load().observing(["heads"]).__enter__()


@pytest.mark.parametrize("kind", first_only(NAMED))
def test_heads_equal_a_slow_split_in_float64(kind: str):
    case, reference = BY_KIND[kind], eager(kind, torch.float64)
    views = noise(encoder(kind))
    views[3] = np.clip(views[0].astype(int) + np.random.default_rng(2).integers(-9, 10, views[0].shape), 0, 255)
    found, given = split_of(encoder(kind), views), pixels(views, torch.float64)
    for place in range(1, 4):
        runs = [lambda k=k: case.embedding(reference, given[k : k + 1]) for k in (0, place)]
        heads, mlps, first = contributions(reference, NAMED[kind], 4, *runs)
        assert heads.sum() + mlps.sum() + first == pytest.approx(1, abs=1e-9), "the slow split is exact too"
        np.testing.assert_allclose(found.heads[place - 1], heads, rtol=0, atol=1e-5)
        np.testing.assert_allclose(found.mlps[place - 1], mlps, rtol=0, atol=1e-5)
        assert float(found.input[place - 1]) == pytest.approx(first, abs=1e-5)


def test_the_only_head_that_depends_on_the_image_carries_all(tmp_path):
    model = models.MAKERS["dinov2"]()
    models.widen(model)
    layer, head, width = 1, 3, 6
    with torch.no_grad():
        for place, block in enumerate(model.encoder.layer):
            weight = block.attention.o_proj.weight
            kept = weight[:, head * width : (head + 1) * width].clone()
            weight.zero_()
            if place == layer:
                weight[:, head * width : (head + 1) * width] = kept
            block.mlp.fc2.weight.zero_()
    planted = load_encoder(str(models.save(model, tmp_path / "model")))
    found = split_of(planted, noise(planted))
    torch.testing.assert_close(found.heads[:, layer, head], torch.ones(3), rtol=0, atol=1e-4)
    torch.testing.assert_close(found.heads.sum(dim=(1, 2)), torch.ones(3), rtol=0, atol=1e-4)


def test_a_view_that_has_not_moved_has_no_contributions():
    views = noise(encoder("clip"), 3)
    views[1] = views[0]
    found = split_of(encoder("clip"), views)
    assert found.heads[0].isnan().all()
    assert found.total[0].isnan()
    assert found.heads[1].isfinite().all()


FUNCTIONS = {
    "layer norm": lambda x: functional.layer_norm(x, (6,), torch.linspace(0.5, 2, 6), torch.linspace(-1, 1, 6)),
    "gelu": functional.gelu,
    "quick gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "gated": lambda x: functional.silu(x) * functional.linear(x, torch.arange(36.0).view(6, 6).sin()),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_secants_are_exact(name: str):
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(5, 2, 6, generator=generator) * scale for scale in (1, 3))
    embed = lambda tokens: FUNCTIONS[name](tokens).flatten(1) + 0.5  # noqa: E731
    found = pull_back(embed, x, y)
    torch.testing.assert_close((found.weights * (y - x)).sum(dim=(1, 2)), torch.ones(5), rtol=0, atol=1e-4)


def test_attention_is_split_into_values_and_pattern():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(3, 5, 8, generator=generator) for _ in range(2))

    def embed(tokens: Tensor) -> Tensor:
        q = tokens.view(len(tokens), 5, 2, 4).transpose(1, 2)
        return functional.scaled_dot_product_attention(q, q, q).flatten(1)

    found = pull_back(embed, x, y)
    values, pattern = (found.weights * (y - x)).sum(dim=(1, 2)), found.pattern()
    torch.testing.assert_close(values + pattern, torch.ones(3), rtol=0, atol=1e-4)
    assert (pattern.abs() > 0.01).all()
    assert [each.shape for each in found.patterns] == [(3, 2)]


# The last block token by token.

TOKEN_BY_TOKEN = ("clip", "siglip", "blip_itm", "blip_2_itm", "idefics2", "dinov3", "dinov2_registers")


@pytest.mark.parametrize("kind", first_only([*TOKEN_BY_TOKEN, "open_clip"]))
def test_tokens_add_up_to_the_last_blocks_heads(kind: str):
    loaded = open_clip_encoder("layer scale") if kind == "open_clip" else encoder(kind)
    anatomy, given = Anatomy(loaded.tower), as_pixels(noise(loaded))
    whole = split(anatomy, block_parts(anatomy, given[:1]), block_parts(anatomy, given[1:]))
    tokens = token_contributions(anatomy, given[:1], given[1:])
    torch.testing.assert_close(
        (tokens.pattern + tokens.values).sum(dim=1), whole.heads[:, -1].sum(dim=1), rtol=0, atol=1e-5
    )
    assert (tokens.pattern.abs().sum(dim=1) > 1e-3).all()
    assert (tokens.values.abs().sum(dim=1) > 1e-3).all()


def test_tokens_equal_sums_over_the_librarys_eager_attention():
    views = noise(encoder("dinov2"), 2)
    anatomy, given = Anatomy(encoder("dinov2").tower), as_pixels(views)
    found = token_contributions(anatomy, given[:1], given[1:])
    reference = eager("dinov2", torch.float64)
    block, values, streams, weights = reference.encoder.layer[-1], [], [], []
    hooks = [
        block.attention.v_proj.register_forward_hook(lambda _m, _i, output: values.append(output[0].numpy())),
        block.register_forward_hook(lambda _m, _i, output: streams.append(output[0].numpy().reshape(-1, 24))),
    ]
    with torch.no_grad():
        for k in range(2):
            output = reference(pixels(views[k : k + 1], torch.float64), output_attentions=True)
            weights.append(output.attentions[-1][0].numpy())
    for hook in hooks:
        hook.remove()
    x, y = (stream[0] for stream in streams)
    norm = reference.layernorm
    gamma, beta = norm.weight.detach().numpy(), norm.bias.detach().numpy()
    ends = [(e - e.mean()) / np.sqrt(e.var() + norm.eps) * gamma + beta for e in (x, y)]
    u = ends[1] / np.linalg.norm(ends[1]) - ends[0] / np.linalg.norm(ends[0])
    wanted = u @ unit_matrix(*ends) @ norm_matrix(x, y, gamma, norm.eps) / (u @ u)
    wanted = (wanted * block.layer_scale1.lambda1.detach().numpy()) @ block.attention.o_proj.weight.detach().numpy()
    old, new = (np.einsum("hd,thd->ht", wanted.reshape(4, -1), each.reshape(len(each), 4, -1)) for each in values)
    a, b = (each[:, 0] for each in weights)
    np.testing.assert_allclose(found.pattern[0], ((b - a) * (old + new) / 2).sum(axis=0), rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.values[0], ((a + b) / 2 * (new - old)).sum(axis=0), rtol=0, atol=1e-5)
