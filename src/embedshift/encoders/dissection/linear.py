"""Head contributions as matrices, for readouts that consist of a layer norm and a projection."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from embedshift.encoders.dissection.anatomy import Anatomy
from embedshift.encoders.dissection.readout import Readout
from embedshift.errors import UsageError

TOGETHER = 64
ROUNDING = 1e-3


def of_heads(anatomy: Anatomy, blocks: Sequence[int]) -> list[Tensor]:
    """Returns, for some blocks, the matrices that map head outputs to the embedding, float64 `[H, D', d]`."""
    after, found = projection(anatomy.readout, len(anatomy.layers[0].weight)), list[Tensor]()
    for layer in (anatomy.layers[block] for block in blocks):
        weight = (layer.scale[:, None] * layer.weight).double()
        whole = after @ (weight - weight.mean(dim=0))
        found.append(whole.view(len(whole), layer.heads, -1).transpose(0, 1))
    return found


def projection(readout: Readout, width: int) -> Tensor:
    """Returns what a readout does after its layer norm, float64 `[D', D]`, by regression on random tokens."""
    if not readout.first_only:
        raise UsageError("reads its embedding from more than one token")
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(2 * width + 8, 1, width, generator=generator)
    with torch.no_grad():
        starts = range(0, len(tokens), TOGETHER)
        given = [readout(tokens[start : start + TOGETHER].to(readout.device)).double() for start in starts]
    embeddings, normed = torch.cat(given), functional.layer_norm(tokens[:, 0].double(), (width,)).to(readout.device)
    inputs = torch.cat([normed, torch.ones_like(normed[:, :1])], dim=1)
    found: Tensor = torch.linalg.lstsq(inputs.cpu(), embeddings.cpu(), driver="gelsd").solution.to(readout.device)
    if (inputs @ found - embeddings).abs().max() > ROUNDING * embeddings.abs().max():
        raise UsageError("computes its embedding with more than a layer norm and a projection")
    return found[:-1].T
