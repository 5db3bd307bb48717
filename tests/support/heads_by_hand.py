"""The split of a shift over heads, written slowly: eager attention in float64, hooks by name, secants as matrices."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Named:
    """Where the parts of a model are, by their names; "" = there is none."""

    blocks: str
    norm: str  # after the last block
    projection: str  # of a block: that of its heads' outputs
    between: str  # of a block: the norm before its feed-forward network
    scale: str = ""  # of a block: what multiplies its attention
    after: str = ""  # the linear layer after the norm
    mean: bool = False  # whether the embedding is the mean of all tokens, and not the first


NAMED = {
    "dinov2": Named("encoder.layer", "layernorm", "attention.o_proj", "norm2", "layer_scale1.lambda1"),
    "clip": Named(
        "vision_model.encoder.layers", "vision_model.post_layernorm", "self_attn.out_proj", "layer_norm2",
        after="visual_projection",
    ),
    "idefics2": Named(
        "model.vision_model.encoder.layers", "model.vision_model.post_layernorm", "self_attn.out_proj", "layer_norm2",
        mean=True,
    ),
}  # fmt: skip


def catch(model: nn.Module, named: Named, run: Any) -> list[Any]:
    """What the blocks were given and gave while `run()` encoded an image: before, heads, between, after, `[T, …]`."""
    blocks = list(model.get_submodule(named.blocks).children())
    found, handles = [SimpleNamespace() for _ in blocks], []
    for block, caught in zip(blocks, found, strict=True):

        def keep(name: str, tensor: Any, caught: SimpleNamespace = caught) -> None:
            first = (tensor[0] if isinstance(tensor, tuple) else tensor)[0]
            setattr(caught, name, np.asarray(first.detach().numpy(), np.float64))

        for name, part in (("before", ""), ("heads", named.projection), ("between", named.between)):
            module = block.get_submodule(part)
            handles.append(module.register_forward_pre_hook(lambda _, given, n=name, k=keep: k(n, given)))
        handles.append(block.register_forward_hook(lambda _, __, output, k=keep: k("after", output)))
    with torch.no_grad():
        run()
    for handle in handles:
        handle.remove()
    return found


def norm_matrix(x: Array, y: Array, weight: Array, eps: float) -> Array:
    """The matrix M with `M (y - x) = LN(y) - LN(x)`."""
    size = len(x)
    centring = np.eye(size) - 1 / size
    a, b = centring @ x, centring @ y
    s, t = (float(np.sqrt(each @ each / size + eps)) for each in (a, b))
    middle = (a + b) / 2
    inner = (1 / s + 1 / t) / 2 * centring - 2 / (size * s * t * (s + t)) * np.outer(middle, middle @ centring)
    return np.asarray(weight[:, None] * inner)


def unit_matrix(x: Array, y: Array) -> Array:
    """The matrix M with `M (y - x) = y/|y| - x/|x|`."""
    s, t = np.linalg.norm(x), np.linalg.norm(y)
    middle = (x + y) / 2
    return np.asarray((1 / s + 1 / t) / 2 * np.eye(len(x)) - 2 / (s * t * (s + t)) * np.outer(middle, middle))


def contributions(model: nn.Module, named: Named, heads: int, original: Any, view: Any) -> tuple[Array, Array, float]:
    """Of one pair: contributions of heads `[L, H]`, of feed-forward networks `[L]`, and of the input.

    The model is in float64, with eager attention; `original` and `view` are called to encode them.
    """
    old, new = catch(model, named, original), catch(model, named, view)
    norm, blocks = model.get_submodule(named.norm), list(model.get_submodule(named.blocks).children())
    weight, bias = (getattr(norm, name).detach().numpy() for name in ("weight", "bias"))
    places: Sequence[int] = range(len(old[0].before)) if named.mean else [0]
    linear = model.get_submodule(named.after).weight.detach().numpy() if named.after else np.eye(len(weight))  # type: ignore[operator]
    matrices, ends = [], [np.zeros(len(linear)), np.zeros(len(linear))]
    for t in places:
        x, y = old[-1].after[t], new[-1].after[t]
        matrices.append(linear @ norm_matrix(x, y, weight, float(norm.eps)) / len(places))  # type: ignore[arg-type]
        for k, each in enumerate((x, y)):
            centred = each - each.mean()
            normed = centred / np.sqrt(centred @ centred / len(each) + float(norm.eps)) * weight + bias  # type: ignore[arg-type]
            ends[k] = ends[k] + linear @ normed / len(places)
    u = ends[1] / np.linalg.norm(ends[1]) - ends[0] / np.linalg.norm(ends[0])
    wanted = [u @ unit_matrix(*ends) @ matrix / (u @ u) for matrix in matrices]
    of_heads, of_mlps = np.zeros((len(blocks), heads)), np.zeros(len(blocks))
    for place, block in enumerate(blocks):
        projection = block.get_submodule(named.projection).weight.detach().numpy()  # type: ignore[operator]
        scale = block.get_parameter(named.scale).detach().numpy() if named.scale else np.ones(len(projection))
        width = projection.shape[1] // heads
        for t, direction in zip(places, wanted, strict=True):
            for head in range(heads):
                part = slice(head * width, (head + 1) * width)
                moved = projection[:, part] @ (new[place].heads[t, part] - old[place].heads[t, part])
                of_heads[place, head] += direction @ (scale * moved)
            added = [each[place].after[t] - each[place].between[t] for each in (old, new)]
            of_mlps[place] += direction @ (added[1] - added[0])
    first = sum(float(d @ (new[0].before[t] - old[0].before[t])) for t, d in zip(places, wanted, strict=True))
    return of_heads, of_mlps, first
