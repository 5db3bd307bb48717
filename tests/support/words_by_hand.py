"""Words for heads by the published procedure, and contributions by the names of the library."""

from typing import Any

import numpy as np
import torch

from embedshift.arrays import Pixels, Values
from support import models
from support.family_models import Case
from support.heads_by_hand import Named, catch


def published(data: Values, texts: Values, count: int) -> tuple[list[int], list[float]]:
    """TextSpan as its authors write it: contributions `[n, D]` and texts `[N, D]`, both deflated pick by pick."""
    _, values, directions = np.linalg.svd(data, full_matrices=False)
    span = directions[values > 1e-9 * values[0]]
    texts = texts @ span.T @ span
    data = data - data.mean(axis=0)
    whole, picks, explained = data.var(axis=0).sum(), list[int](), list[float]()
    for _ in range(count):
        best = int((data @ texts.T).std(axis=0).argmax())
        along = texts[best] / np.linalg.norm(texts[best])
        data = data - np.outer(data @ along, along)
        texts = texts - np.outer(texts @ along, along)
        picks.append(best)
        explained.append(1 - data.var(axis=0).sum() / whole)
    return picks, explained


def contributions(reference: Any, named: Named, case: Case, view: Pixels) -> Values:
    """What each head adds to the embedding of one image, `[L, H, D']`, by the names of the library."""
    pixels = torch.from_numpy(((view[None] / 255 - models.MEAN) / models.STD).transpose(0, 3, 1, 2))
    caught = catch(reference, named, lambda: case.embedding(reference, pixels))
    norm = reference.get_submodule(named.norm)
    gamma = norm.weight.detach().numpy()
    after = reference.get_submodule(named.after).weight.detach().numpy() if named.after else np.eye(len(gamma))
    scale = np.sqrt(caught[-1].after[0].var() + norm.eps)
    found = np.zeros((len(caught), 4, len(after)))
    for layer, block in enumerate(reference.get_submodule(named.blocks).children()):
        weight = block.get_submodule(named.projection).weight.detach().numpy()
        own = block.get_parameter(named.scale).detach().numpy() if named.scale else 1
        for head in range(4):
            part = slice(6 * head, 6 * head + 6)
            added = own * (weight[:, part] @ caught[layer].heads[0, part])
            found[layer, head] = after @ (gamma * (added - added.mean()) / scale)
    return found
