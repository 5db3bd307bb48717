"""What encoders give layer by layer, against the hidden states that the library itself gives."""

import numpy as np
import pytest
import torch
from torch import nn

from embedshift.encoders import load_encoder
from embedshift.encoders.base import Observable
from embedshift.encoders.module import wrap
from embedshift.errors import EmbedshiftError
from support import family_models
from support.matrix import first_only
from support.models import MEAN, SIZE, STD, Colours, TinyNet

PREFIX = {"clip": 1, "siglip": 0, "dinov2_registers": 5, "vit": 1, "dinov3": 5}
VIEWS = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)


def hidden_states(model, views) -> torch.Tensor:
    """The outputs of all blocks `[B, L, N, W]`, as the library gives them in a pass of its own."""
    pixels = (torch.from_numpy(views).permute(0, 3, 1, 2) / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(
        STD
    ).view(3, 1, 1)
    tower = family_models.tower_of(model)
    with torch.inference_mode():
        return torch.stack(tower(pixels, output_hidden_states=True).hidden_states[1:], dim=1)


@pytest.mark.parametrize("kind", first_only(PREFIX))
def test_layers_are_the_librarys_hidden_states(kind, tmp_path):
    case = next(case for case in family_models.CASES if case.kind == kind)
    folder = family_models.save(case, tmp_path / kind)
    encoder = load_encoder(str(folder), device="cpu")
    plain = encoder(VIEWS)
    assert plain.layers is None
    with encoder.observing(["layers"]):
        output = encoder(VIEWS)
    states, prefix = hidden_states(case.reference(folder), VIEWS), PREFIX[kind]
    wanted = [states[:, :, prefix:].mean(dim=2)]
    if prefix:
        wanted.insert(0, states[:, :, 0])
    assert output.layers.shape[1:3] == (states.shape[1], 2 if prefix else 1) == (3, len(wanted))
    np.testing.assert_allclose(output.layers, torch.stack(wanted, dim=2).numpy(), atol=2e-5)
    assert np.abs(np.diff(output.layers, axis=1)).max() > 0.1  # layers differ, so that a wrong one would show
    # Without layers the last block computes the class token alone, which differs by rounding.
    np.testing.assert_allclose(output.embedding, plain.embedding, atol=5e-6)
    np.testing.assert_array_equal(output.attention, plain.attention)
    assert encoder(VIEWS).layers is None


class Blocks(nn.Module):
    """Tokens `[B, 4, 8]` through two blocks; `change` turns what goes into the blocks into what they get."""

    def __init__(self, blocks, change=lambda tokens: tokens) -> None:
        super().__init__()
        self.patches, self.blocks, self.change = nn.Conv2d(3, 8, 16, 16), nn.ModuleList(blocks), change

    def forward(self, pixels):
        tokens = self.change(self.patches(pixels).flatten(2).transpose(1, 2))
        for block in self.blocks:
            tokens = block(tokens)
        return tokens.flatten(1)[:4, :4].reshape(-1, 4)


def two(**settings):
    return [nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, **settings) for _ in range(2)]


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (TinyNet(), "tiny gives no layers: it has no sequence of similar blocks"),
        (Blocks(two(), lambda t: t.transpose(0, 1)), r"tiny: gives no layers: .* \(4, 1, 8\), less than a 2 x 2"),
        (Blocks([nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)], lambda t: t[..., None].transpose(1, 2)), r"not \[B, tokens"),
        (Blocks([nn.Linear(8, 8), nn.Linear(8, 8)], lambda t: t[:, 0]), r"\(1, 8\), not \[B, tokens, width\]"),
    ],
)  # fmt: skip
def test_other_structures_are_refused_in_one_line(module, words):
    encoder = wrap(module, size=SIZE, mean=MEAN, std=STD, name="tiny", device="cpu")
    with pytest.raises(EmbedshiftError, match=words) as refused, encoder.observing(["layers"]):
        pytest.fail("it was entered")
    assert refused.value.exit_code == 2


def test_a_pass_that_broke_off_leaves_nothing_behind():
    module = Blocks(two())
    encoder = wrap(module, size=SIZE, mean=MEAN, std=STD, embed=lambda m, p: m(p).reshape(len(p), -1), device="cpu")

    def out_of_memory(*_):
        raise RuntimeError("out of memory")

    with encoder.observing(["layers"]):
        wanted = encoder(VIEWS[:1]).layers
        hook = module.blocks[1].register_forward_pre_hook(out_of_memory)
        with pytest.raises(RuntimeError):
            encoder(VIEWS[1:2])
        hook.remove()
        np.testing.assert_array_equal(encoder(VIEWS[:1]).layers, wanted)


def test_who_is_observable():
    assert not isinstance(Colours(), Observable)
    assert isinstance(wrap(TinyNet(), size=SIZE, mean=MEAN, std=STD, device="cpu"), Observable)
