"""A module that fills one output tensor again and again: its vectors are those of a module that returns fresh ones."""

import numpy as np
import pytest
import torch
from torch import nn

import embedshift
from embedshift.encoders.attack import reference_embedding
from embedshift.encoders.dissection import token_contributions
from embedshift.encoders.dissection.anatomy import Anatomy
from embedshift.encoders.text import ModuleTextEncoder
from embedshift.stacks.served import reference_vectors, vectors_of
from support import models
from support.family_models import views
from support.pictures import encoded
from support.synthetic import write_pictures

WIDTH = 16
STATS = {"size": 32, "mean": models.MEAN, "std": models.STD, "name": "net"}
VIEWS = views(15)
ALL = ["layers", "rollout", "heads"]


class Buffers:
    """Tensors that are filled again in every pass without gradients; `reuses` False gives the tensors themselves."""

    def __init__(self, reuses):
        self.reuses, self.filled = reuses, {}

    def __call__(self, name, tensor):
        if torch.is_grad_enabled() or not self.reuses:
            return tensor
        key = name, tensor.dtype, tensor.shape[1:], torch.is_inference_mode_enabled()
        buffer = self.filled.setdefault(key, tensor.new_empty(512, *tensor.shape[1:]))
        return buffer[: len(tensor)].copy_(tensor)


class Block(nn.TransformerEncoderLayer):
    def __init__(self, fill):
        super().__init__(WIDTH, 2, 32, batch_first=True, norm_first=True)
        self.fill = fill

    def forward(self, tokens, *args, **kwargs):
        return self.fill("block", super().forward(tokens, *args, **kwargs))


class Net(nn.Module):
    """A transformer with a class token, whose blocks share one buffer and whose embedding has another."""

    def __init__(self, *, reuses):
        super().__init__()
        torch.manual_seed(0)
        self.fill = Buffers(reuses)
        self.patch, self.cls_token = nn.Conv2d(3, WIDTH, 8, stride=8), nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.blocks, self.norm = nn.ModuleList(Block(self.fill) for _ in range(2)), nn.LayerNorm(WIDTH)
        models.widen(self, std=0.2)

    def forward(self, pixels):
        tokens = self.patch(pixels).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1).to(tokens.dtype), tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.fill("embedding", self.norm(tokens[:, 0]))


def pair():
    return [Net(reuses=reuses).eval() for reuses in (False, True)]


@pytest.mark.parametrize("batch", [1, 7, 8])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_outputs_that_are_read_after_later_passes(precision, batch):
    outputs = []
    for net in pair():
        encoder = embedshift.wrap(net, **STATS, precision=precision)
        with encoder.observing(ALL):
            begun = [encoder.begin(VIEWS[start : start + batch]) for start in range(0, len(VIEWS), batch)]
            outputs.append([finish().arrays() for finish in begun])
    assert [*outputs[0][0]] == ["embedding", "attention", *ALL]
    for fresh, reused in zip(*outputs, strict=True):
        for name, array in fresh.items():
            assert array.size
            np.testing.assert_array_equal(reused[name], array, name)


@pytest.mark.slow
def test_a_study_of_such_a_module(tmp_path):
    write_pictures(tmp_path / "photos", [f"{n}.png" for n in range(5)], 0)
    suite = {"mirror": lambda image, rng: image[:, ::-1], "dark": lambda image, rng: image // 2}
    rows = [
        embedshift.run(
            tmp_path / "photos", out=tmp_path / str(net.fill.reuses), model=embedshift.wrap(net, **STATS),
            augmentations=suite, layers=True, heads=True, workers=0, batch_size=7,
        ).rows().sort("image_id", "view").collect()
        for net in pair()
    ]  # fmt: skip
    assert rows[1].equals(rows[0])


def test_other_readers_of_a_module():
    """Attacks, the tokens of the last block, the reference of `parity`, and text towers each keep several outputs."""
    found = []
    for net in pair():
        encoder, pixels = embedshift.wrap(net, **STATS), torch.from_numpy(VIEWS).permute(0, 3, 1, 2).float()
        with encoder.differentiable() as embed:
            references = [reference_embedding(embed, view) for view in VIEWS[:2]]
        tokens = token_contributions(Anatomy(encoder.tower), pixels[:1], pixels[1:3])
        texts = ModuleTextEncoder(
            nn.Identity(),
            lambda texts: {"lengths": torch.tensor([[float(len(text))] for text in texts])},
            lambda _, tokens, net=net: net.fill("texts", tokens["lengths"]),
            "texts",
        )(["a" * length for length in range(70)])
        files = [encoded(view, "PNG") for view in VIEWS[:3]]
        found.append([*references, tokens.pattern, tokens.values, texts, reference_vectors(encoder, files)])
    for fresh, reused in zip(*found, strict=True):
        np.testing.assert_array_equal(np.asarray(reused), np.asarray(fresh))


def test_a_function_whose_vectors_parity_compares():
    kept = np.empty((8, 3), np.float32)

    def fills(images):
        kept[: len(images)] = [np.asarray(image, float).mean((0, 1)) for image in images]
        return kept[: len(images)]

    files = {str(place): encoded(view, "PNG") for place, view in enumerate(VIEWS)}
    encoder = embedshift.image_encoder(fills, name="colours", version="1", size=32)
    np.testing.assert_allclose(vectors_of(fills, encoder, files, None), VIEWS.mean((1, 2)), rtol=1e-5)
