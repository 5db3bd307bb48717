"""Attention rollout against loops over the layers' weights that the library's own eager pass returns."""

import numpy as np
import pytest
import torch
from torch import nn

import embedshift
from embedshift import EmbedshiftError
from embedshift.encoders import load_encoder
from support import models
from support.family_models import CASES, save, tower_of
from support.matrix import first_only

VIEWS = np.random.default_rng(0).integers(0, 256, (3, models.SIZE, models.SIZE, 3), dtype=np.uint8)
PATCHES = (models.SIZE // models.PATCH) ** 2
KINDS = {case.kind: case for case in CASES if case.name is None}


def pixels() -> torch.Tensor:
    return torch.from_numpy(((VIEWS / 255 - models.MEAN) / models.STD).transpose(0, 3, 1, 2)).float()


def rolled_out(layers) -> np.ndarray:
    """R_l = rows((A_l + I) / 2) R_{l-1} for the weights `[H, T, T]` of one picture's layers, cell by cell, float64."""
    size = layers[0].shape[-1]
    rolled = [[float(i == j) for j in range(size)] for i in range(size)]
    for weights in layers:
        mixed = []
        for i in range(size):
            row = [(sum(head[i][j] for head in weights) / len(weights) + (i == j)) / 2 for j in range(size)]
            mixed.append([value / sum(row) for value in row])
        rolled = [[sum(a * b for a, b in zip(row, column, strict=True)) for column in zip(*rolled, strict=True)] for row in mixed]  # fmt: skip  # noqa: E501
    return np.array(rolled)


@pytest.mark.parametrize("kind", first_only(["clip", "dinov2_registers", "siglip", "idefics2"]))
def test_rollout_equals_the_eager_model_s_own_layers(kind, tmp_path):
    case = KINDS[kind]
    folder = save(case, tmp_path / kind)
    encoder = load_encoder(str(folder))
    before = encoder(VIEWS)
    assert before.rollout is None
    with encoder.observing(["rollout"]):
        found = encoder(VIEWS)
    np.testing.assert_array_equal(found.embedding, before.embedding)
    np.testing.assert_array_equal(found.attention, before.attention)

    eager = case.reference(folder)
    with torch.inference_mode():
        layers = tower_of(eager)(pixels(), output_attentions=True).attentions
        pooling = case.row(eager, pixels()).numpy() if case.attention == "pool" else None
    assert len(layers) == models.TOWER["num_hidden_layers"]
    for view in range(len(VIEWS)):
        rolled = rolled_out([layer[view].double().numpy() for layer in layers])
        wanted = {"cls": rolled[0], "mean": rolled.mean(axis=0)}.get(case.attention)
        if pooling is not None:
            wanted = sum(weight * row for weight, row in zip(pooling[view], rolled, strict=True))
        np.testing.assert_allclose(found.rollout[view].ravel(), wanted[-PATCHES:], rtol=0, atol=1e-5)

    assert encoder(VIEWS).rollout is None
    np.testing.assert_array_equal(encoder(VIEWS).embedding, before.embedding)


def test_one_layer_of_equal_attention_is_known():
    """Attention that is even over T tokens: after one layer a class token keeps half of itself and an even rest."""

    class Even(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch = nn.Conv2d(3, 8, 16, stride=16)
            self.cls_token = nn.Parameter(torch.zeros(1, 1, 8))
            self.blocks = nn.ModuleList([nn.TransformerEncoderLayer(8, 2, 8, batch_first=True) for _ in range(2)])
            for block in self.blocks:
                nn.init.zeros_(block.self_attn.in_proj_weight)

        def forward(self, pixels):
            x = self.patch(pixels).flatten(2).transpose(1, 2)
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
            for block in self.blocks:
                x = block(x)
            return x[:, 0]

    encoder = embedshift.wrap(Even(), size=32, mean=models.MEAN, std=models.STD)
    with encoder.observing(["rollout"]):
        rollout = encoder(VIEWS).rollout
    # E = even matrix with E E = E: ((E + I) / 2)^2 = (3 E + I) / 4.
    np.testing.assert_allclose(rollout, np.full((3, 2, 2), 3 / 4 / 5), rtol=0, atol=1e-6)


class Windows(nn.Module):
    """Blocks that attend inside each quarter of the picture."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 8, stride=8)
        self.blocks = nn.ModuleList([nn.TransformerEncoderLayer(8, 2, 8, batch_first=True) for _ in range(2)])

    def forward(self, pixels):
        x = self.patch(pixels).unflatten(2, (2, 2)).unflatten(4, (2, 2)).permute(0, 2, 4, 3, 5, 1)
        x = x.reshape(-1, 4, 8)
        for block in self.blocks:
            x = block(x)
        return x.reshape(len(pixels), -1, 8).mean(dim=1)


class NoAttention(nn.Module):
    """Two like blocks without any attention."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))

    def forward(self, pixels):
        return self.blocks(pixels.mean(dim=1)[:, :4, :8]).mean(dim=1)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (Windows(), "Windows: gives no rollout: its attention runs inside windows"),
        (NoAttention(), "NoAttention: gives no rollout: no attention runs inside its block 1"),
        (models.TinyNet(), "TinyNet gives no rollout: it has no sequence of similar blocks"),
    ],
)
def test_what_cannot_be_rolled_out_is_refused_in_one_line(module, words):
    encoder = embedshift.wrap(module, size=models.SIZE, mean=models.MEAN, std=models.STD)
    with pytest.raises(EmbedshiftError, match=words) as caught, encoder.observing(["rollout"]):
        pytest.fail("it was entered")
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert "run without rollout metrics" in str(caught.value)
    assert len(encoder(VIEWS)) == 3, "it goes on without"
