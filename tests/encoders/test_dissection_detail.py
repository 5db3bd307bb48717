"""The last block token by token, against slow passes of the library."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from embedshift import load_encoder
from embedshift.encoders.dissection import block_parts, split, token_contributions
from embedshift.encoders.dissection.anatomy import Anatomy
from support import models, studies
from support.family_models import CASES, save
from support.heads_by_hand import norm_matrix, unit_matrix
from support.library_models import make_open_clip
from support.matrix import first_only

pytestmark = pytest.mark.slow

HEADS, KINDS = 4, ("clip", "siglip", "blip_itm", "blip_2_itm", "idefics2", "dinov3", "dinov2_registers")


def images(encoder) -> Tensor:
    views = np.random.default_rng(3).integers(0, 256, (4, encoder.size, encoder.size, 3), np.uint8)
    return torch.from_numpy(views).permute(0, 3, 1, 2).float()


@pytest.fixture(scope="module")
def dinov2() -> Path:
    return studies.checkpoint("dinov2")


@pytest.mark.parametrize("kind", first_only([*KINDS, "open_clip"]))
def test_tokens_add_up_to_the_last_blocks_heads(kind: str, tmp_path: Path):
    if kind == "open_clip":
        folder = make_open_clip(tmp_path / "model", layers=3, ls_init_value=0.3)
    else:
        folder = save(next(case for case in CASES if case.kind == kind), tmp_path / "model")
    encoder = load_encoder(str(folder))
    anatomy, pixels = Anatomy(encoder.tower), images(encoder)
    whole = split(anatomy, block_parts(anatomy, pixels[:1]), block_parts(anatomy, pixels[1:]))
    tokens = token_contributions(anatomy, pixels[:1], pixels[1:])
    torch.testing.assert_close(
        (tokens.pattern + tokens.values).sum(dim=1), whole.heads[:, -1].sum(dim=1), rtol=0, atol=1e-5
    )
    assert (tokens.pattern.abs().sum(dim=1) > 1e-3).all()
    assert (tokens.values.abs().sum(dim=1) > 1e-3).all()


def test_tokens_equal_a_loop_over_the_librarys_eager_attention(dinov2: Path):
    encoder = load_encoder(str(dinov2))
    anatomy, pixels = Anatomy(encoder.tower), images(encoder)
    found = token_contributions(anatomy, pixels[:1], pixels[1:2])
    reference = next(case for case in CASES if case.kind == "dinov2").reference(dinov2).double()
    block, values, streams = reference.encoder.layer[-1], [], []
    block.attention.v_proj.register_forward_hook(lambda _m, _i, output: values.append(output[0].numpy()))
    block.register_forward_hook(lambda _m, _i, output: streams.append(output[0].numpy().reshape(-1, 24)))
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (models.MEAN, models.STD))
    weights = []
    with torch.no_grad():
        for k in range(2):
            output = reference((pixels[k : k + 1].double() / 255 - mean) / std, output_attentions=True)
            weights.append(output.attentions[-1][0].numpy())
    x, y = (stream[0] for stream in streams)
    norm = reference.layernorm
    gamma, beta = norm.weight.detach().numpy(), norm.bias.detach().numpy()
    ends = [(e - e.mean()) / np.sqrt(e.var() + norm.eps) * gamma + beta for e in (x, y)]
    u = ends[1] / np.linalg.norm(ends[1]) - ends[0] / np.linalg.norm(ends[0])
    wanted = u @ unit_matrix(*ends) @ norm_matrix(x, y, gamma, norm.eps) / (u @ u)
    wanted = (wanted * block.layer_scale1.lambda1.detach().numpy()) @ block.attention.o_proj.weight.detach().numpy()
    width = 24 // HEADS
    for token in range(weights[0].shape[-1]):
        pattern = value = 0.0
        for head in range(HEADS):
            part = slice(head * width, (head + 1) * width)
            old, new = (each[token, part] for each in values)
            a, b = (each[head, 0, token] for each in weights)
            pattern += (b - a) * (wanted[part] @ (old + new)) / 2
            value += (a + b) / 2 * (wanted[part] @ (new - old))
        assert float(found.pattern[0, token]) == pytest.approx(pattern, abs=1e-5)
        assert float(found.values[0, token]) == pytest.approx(value, abs=1e-5)
