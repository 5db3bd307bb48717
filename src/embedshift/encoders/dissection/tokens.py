"""The last block's attention by token: whether it attends to other tokens, or finds other content in them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from embedshift.encoders.dissection.anatomy import Anatomy
from embedshift.encoders.dissection.secant import pull_back
from embedshift.encoders.eager import AttendedTensor, AttentionInterceptor


@dataclass(frozen=True)
class TokenContributions:
    """Contributions of the last block's attention to the shifts of P views, by attended token."""

    pattern: Tensor
    values: Tensor


@torch.no_grad()
def token_contributions(anatomy: Anatomy, original: Tensor, views: Tensor) -> TokenContributions:
    count, layer = len(views), anatomy.layers[-1]
    (old, old_stream), (new, new_stream) = (_last(anatomy, pixels) for pixels in (original, views))
    pulled = pull_back(anatomy.readout, old_stream.expand(count, -1, -1), new_stream)
    back = (pulled.weights * layer.scale) @ layer.weight
    upstream = back.view(count, back.shape[1], layer.heads, -1).transpose(1, 2)  # [P, H, Q, d]
    changed, weights = new.weights - old.weights, (new.weights + old.weights) / 2
    # <wanted, A v> = sum over queries of A[q, t] <wanted[q], v[t]>
    pattern = (changed * (upstream @ ((new.values + old.values) / 2).transpose(-2, -1))).sum(dim=(1, 2))
    values = (weights * (upstream @ (new.values - old.values).transpose(-2, -1))).sum(dim=(1, 2))
    moved = pulled.moved[:, None]
    return TokenContributions(pattern * moved, values * moved)


def _last(anatomy: Anatomy, pixels: Tensor) -> tuple[AttendedTensor, Tensor]:
    outputs: list[Tensor] = []

    def keep(_block: object, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        outputs.append(output[0] if isinstance(output, tuple) else output)

    handle = anatomy.readout.blocks[-1].register_forward_hook(keep)
    mode = AttentionInterceptor()
    try:
        with anatomy.tower.taps.silent(), mode:
            anatomy.tower.embed(pixels)
    finally:
        handle.remove()
    return mode.attended[len(anatomy.layers) - 1], outputs[-1]
