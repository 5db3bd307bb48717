"""`embedshift.wrap`: a user's own module as an encoder."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import embedshift
from support import models
from support.attention_by_hand import multihead_row
from support.family_models import pixels, views

H, D = 4, 8


class OwnViT(nn.Module):
    """A small vision transformer with a class token and registers, as people write them."""

    def __init__(self, *, cls=True, registers=0, patches=True):
        super().__init__()
        width = H * D
        self.patch = nn.Conv2d(3, width, 8, stride=8) if patches else nn.PixelUnshuffle(8)
        self.widen = nn.Identity() if patches else nn.Linear(3 * 64, width)
        if cls:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.registers = nn.Parameter(torch.zeros(1, registers, width))
        layers = [nn.TransformerEncoderLayer(width, H, 48, batch_first=True) for _ in range(3)]
        self.blocks = nn.ModuleList(layers)
        self.has_cls = cls
        models.widen(self, std=0.2)

    def tokens(self, pixels):
        x = self.widen(self.patch(pixels).flatten(2).transpose(1, 2))
        first = [self.cls_token.expand(len(x), -1, -1)] if self.has_cls else []
        x = torch.cat([*first, self.registers.expand(len(x), -1, -1), x], dim=1)
        for block in self.blocks[:-1]:
            x = block(x)
        return x

    def forward(self, pixels):
        return self.blocks[-1](self.tokens(pixels))[:, 0]


VIEWS = views()
PIXELS = pixels(VIEWS)
STATS = {"size": 32, "mean": models.MEAN, "std": models.STD}


def test_a_module_that_learns_is_in_eval_mode_only_while_it_encodes():
    net = OwnViT().train()
    net.blocks[1].eval()
    before, seen = [part.training for part in net.modules()], []
    assert {*before} == {True, False}
    wanted = copy.deepcopy(net).eval()(PIXELS).detach().numpy()
    net.blocks[0].register_forward_hook(lambda part, *_: seen.append(part.training))
    encoder = embedshift.wrap(net, **STATS)
    np.testing.assert_allclose(encoder(VIEWS).embedding, wanted, atol=1e-5)
    with encoder.differentiable() as embed:
        found = embed(torch.from_numpy(VIEWS.transpose(0, 3, 1, 2)).float())
        np.testing.assert_allclose(found.detach(), wanted, atol=1e-5)
    with encoder.observing(["layers"]):
        encoder(VIEWS)
    with pytest.raises(RuntimeError, match="broadcast"):
        encoder(VIEWS[:, :, :, :1])
    assert {*seen} == {False}
    assert [part.training for part in net.modules()] == before


@pytest.mark.parametrize(
    ("cls", "registers", "patches"), [(True, 0, True), (True, 3, False), (False, 0, False), (False, 2, True)]
)
def test_wrap_of_an_own_transformer(cls, registers, patches):
    net = OwnViT(cls=cls, registers=registers, patches=patches).eval()
    with torch.inference_mode():
        embedding = net(PIXELS)
        row = multihead_row(net.blocks[-1].self_attn, net.tokens(PIXELS), from_cls=cls)
    encoder = embedshift.wrap(net, **STATS, name="mine")
    output = encoder(VIEWS)
    assert (encoder.name, encoder.dim, encoder.grid) == ("mine", H * D, (4, 4))
    assert output.attention_kind == ("cls" if cls else "mean")
    np.testing.assert_allclose(output.embedding, embedding.numpy(), rtol=0, atol=1e-4)
    np.testing.assert_allclose(output.attention, row[:, -16:].reshape(3, 4, 4).numpy(), rtol=0, atol=1e-5)


def test_wrap_without_attention_and_with_another_output_than_a_tensor():
    net = models.TinyNet()
    encoder = embedshift.wrap(net, **STATS)
    output = encoder(VIEWS)
    assert output.attention is None
    assert output.attention_kind is encoder.grid is None
    assert encoder.name == "TinyNet"
    np.testing.assert_allclose(output.embedding, net(PIXELS).detach().numpy(), rtol=0, atol=1e-5)
    encoder = embedshift.wrap(Rich(), **STATS, embed=lambda module, x: module(x)["embedding"])
    assert encoder(VIEWS).embedding.shape == (3, 3)


def test_wrap_with_embed_and_a_named_block():
    net = OwnViT().eval()
    with torch.inference_mode():
        x = net.patch(PIXELS).flatten(2).transpose(1, 2)
        tokens = torch.cat([net.cls_token.expand(len(x), -1, -1), x], dim=1)
        row = multihead_row(net.blocks[1].self_attn, net.blocks[0](tokens), from_cls=True)
        patches = net.blocks[-1](net.tokens(PIXELS))[:, 1:].mean(dim=1)

    def mean_of_patches(module, x):
        return module.blocks[-1](module.tokens(x))[:, 1:].mean(dim=1)

    encoder = embedshift.wrap(net, **STATS, embed=mean_of_patches, attention="blocks.1")
    output = encoder(VIEWS)
    np.testing.assert_allclose(output.embedding, patches.numpy(), rtol=0, atol=1e-4)
    np.testing.assert_allclose(output.attention, row[:, 1:].reshape(3, 4, 4).numpy(), rtol=0, atol=1e-5)


class Rich(nn.Module):
    def forward(self, x):
        return {"embedding": x.mean(dim=(2, 3))}


@pytest.mark.parametrize(
    ("net", "options", "code", "words"),
    [
        (models.TinyNet(), {"attention": "blocks.9.attn"}, 2, "no part 'blocks.9.attn'"),
        (OwnViT(), {"size": "32"}, 2, "OwnViT: size '32' is not one of 1 to 4096 pixels"),
        (OwnViT(), {"mean": 0.5}, 2, "OwnViT: `mean` 0.5, .*: give three finite numbers each"),
        (OwnViT(), {"std": (1, 1, 0)}, 2, "`std` above 0"),
        (nn.Linear(5, 5, device="meta"), {}, 2, "Linear: it is on the device meta"),
        (3, {}, 2, "give a torch.nn.Module, not int"),
        (nn.Linear(5, 5), {}, 1, "Linear cannot encode an image of 32 pixels"),
        (nn.Identity(), {}, 1, r"gives \(1, 3, 32, 32\) for one image; an embedding must be \[B, D\]"),
        (nn.MultiheadAttention(4, 2), {"embed": lambda module, x: {}}, 1, "cannot encode"),
        (Rich(), {}, 1, "give wrap an `embed` function"),
    ],
)
def test_wrap_refuses_what_cannot_be(net, options, code, words):
    with pytest.raises(embedshift.EmbedshiftError, match=words) as caught:
        embedshift.wrap(net, **(STATS | options))
    assert caught.value.exit_code == code
    assert "\n" not in str(caught.value)


def test_two_ways_to_read_one_module_are_two_studies():
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
    look = {"size": 8, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    encoders = [
        embedshift.wrap(net, **look),
        embedshift.wrap(net, embed=lambda module, pixels: module(pixels), **look),
        embedshift.wrap(net, embed=lambda module, pixels: module(pixels).abs(), **look),
        embedshift.wrap(net, embed=lambda module, pixels: module(pixels)[:, :2], **look),
        embedshift.wrap(net, embed=lambda module, pixels: module(pixels)[:, :3], **look),
        embedshift.wrap(net, attention="1", **look),
    ]
    assert len({encoder.weights_hash for encoder in encoders}) == 1
    assert len({encoder.embedding_name for encoder in encoders}) == 6
