"""Layers and rollout of an encoder, against the hidden states and the attention that the library itself gives."""

import numpy as np
import pytest
import torch
from torch import nn

from embedshift.encoders.module import wrap
from embedshift.errors import EmbedshiftError
from support import models
from support.family_models import BY_KIND, eager, encoder, pixels, tower_of, views
from support.matrix import first_only

VIEWS = views()
PATCHES = (models.SIZE // models.PATCH) ** 2
# Tokens before the patches, as the class token and registers.
PREFIX = {"clip": 1, "siglip": 0, "dinov2_registers": 5, "idefics2": 0, "dinov3": 5}


def rolled_out(layers) -> np.ndarray:
    """R_l = rows((A_l + I) / 2) R_{l-1} for the weights `[H, T, T]` of one picture's layers, in NumPy and float64."""
    rolled = unit = np.eye(layers[0].shape[-1])
    for weights in layers:
        mixed = (weights.mean(axis=0) + unit) / 2
        rolled = mixed / mixed.sum(axis=1, keepdims=True) @ rolled
    return rolled


def wanted_rollout(case, attentions, view) -> np.ndarray:
    rolled = rolled_out([layer[view].double().numpy() for layer in attentions])
    if case.attention != "pool":
        return rolled[0] if case.attention == "cls" else rolled.mean(axis=0)
    pooling = case.row(eager(case.kind), pixels(VIEWS)).numpy()
    return sum(weight * row for weight, row in zip(pooling[view], rolled, strict=True))


@pytest.mark.parametrize("kind", first_only(PREFIX))
def test_layers_and_rollout_are_those_of_the_librarys_own_pass(kind):
    case, loaded = BY_KIND[kind], encoder(kind)
    plain = loaded(VIEWS)
    assert plain.layers is plain.rollout is None
    with loaded.observing(["rollout"]):
        rollout = loaded(VIEWS)
    np.testing.assert_array_equal(rollout.embedding, plain.embedding)
    with loaded.observing(["layers"]):
        output = loaded(VIEWS)

    with torch.inference_mode():
        found = tower_of(eager(kind))(pixels(VIEWS), output_hidden_states=True, output_attentions=True)
        states, prefix = torch.stack(found.hidden_states[1:], dim=1), PREFIX[kind]
        rolled = [wanted_rollout(case, found.attentions, view) for view in range(len(VIEWS))]
    wanted = [states[:, :, prefix:].mean(dim=2)]
    if prefix:
        wanted.insert(0, states[:, :, 0])
    assert output.layers.shape[1:3] == (states.shape[1], 2 if prefix else 1) == (3, len(wanted))
    np.testing.assert_allclose(output.layers, torch.stack(wanted, dim=2).numpy(), atol=2e-5)
    assert np.abs(np.diff(output.layers, axis=1)).max() > 0.1  # layers differ, so that a wrong one would show
    np.testing.assert_allclose(rollout.rollout.reshape(3, -1), np.array(rolled)[:, -PATCHES:], rtol=0, atol=1e-5)
    # With layers the last block does not compute the class token alone, which differs by rounding.
    np.testing.assert_allclose(output.embedding, plain.embedding, atol=5e-6)
    np.testing.assert_array_equal(output.attention, plain.attention)
    np.testing.assert_array_equal(rollout.attention, plain.attention)
    after = loaded(VIEWS)
    assert after.layers is after.rollout is None
    np.testing.assert_array_equal(after.embedding, plain.embedding)


class Blocks(nn.Module):
    """Tokens `[B, 4, 8]` through two blocks; `change` turns what goes into the blocks into what they get."""

    def __init__(self, blocks, change=lambda tokens: tokens) -> None:
        super().__init__()
        self.patches, self.blocks, self.change = nn.Conv2d(3, 8, 16, 16), nn.ModuleList(blocks), change

    def forward(self, pixels):
        tokens = self.change(self.patches(pixels).flatten(2).transpose(1, 2))
        for block in self.blocks:
            tokens = block(tokens)
        return tokens.reshape(len(pixels), -1)


def two(**settings):
    return [nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, **settings) for _ in range(2)]


def wrapped(module):
    return wrap(module, size=models.SIZE, mean=models.MEAN, std=models.STD, name="tiny", device="cpu")


def quarters(tokens):
    """Tokens `[B, 4, 8]` as `[4 B, 1, 8]`: each attends to itself alone."""
    return tokens.reshape(-1, 1, 8)


@pytest.mark.parametrize(
    ("module", "name", "words"),
    [
        (models.TinyNet(), "layers", "tiny gives no layers: it has no sequence of similar blocks"),
        (Blocks(two(), lambda t: t.transpose(0, 1)), "layers", r"no layers: .* \(4, 1, 8\), less than a 2 x 2"),
        (Blocks([nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)], lambda t: t[..., None].transpose(1, 2)), "layers", "not .B"),
        (Blocks([nn.Linear(8, 8), nn.Linear(8, 8)], lambda t: t[:, 0]), "layers", r"\(1, 8\), not \[B, tokens"),
        (Blocks(two(), quarters), "rollout", "no rollout: its attention runs inside windows"),
        (Blocks([nn.Linear(8, 8), nn.Linear(8, 8)]), "rollout", "no attention runs inside its block 1"),
        (models.TinyNet(), "rollout", "tiny gives no rollout: it has no sequence of similar blocks"),
    ],
)  # fmt: skip
def test_what_cannot_be_observed_is_refused_in_one_line(module, name, words):
    tiny = wrapped(module)
    assert tiny(VIEWS).attention is None
    with pytest.raises(EmbedshiftError, match=words) as refused, tiny.observing([name]):
        pytest.fail("it was entered")
    assert refused.value.exit_code == 2
    assert "\n" not in str(refused.value)
    assert len(tiny(VIEWS)) == 3, "it goes on without"


@pytest.mark.parametrize("name", ["layers", "rollout"])
def test_a_pass_that_broke_off_leaves_nothing_behind(name):
    module = Blocks(two())
    tiny = wrapped(module)

    def out_of_memory(*_):
        raise RuntimeError("out of memory")

    with tiny.observing([name]):
        wanted = tiny(VIEWS[:1]).observed[name]
        hook = module.blocks[1].register_forward_pre_hook(out_of_memory)
        with pytest.raises(RuntimeError):
            tiny(VIEWS[1:2])
        hook.remove()
        np.testing.assert_array_equal(tiny(VIEWS[:1]).observed[name], wanted)
