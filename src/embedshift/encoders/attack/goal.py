"""The goal of an attack: to lower the cosine with a reference embedding, or to raise it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from embedshift.arrays import Floats, Pixels
from embedshift.errors import EmbedshiftError

Embed = Callable[[Tensor], Tensor]
Purify = Callable[[Pixels], Pixels]


@dataclass(frozen=True)
class Goal:
    embed: Embed
    reference: Tensor
    towards: bool = False
    purify: Purify | None = None

    def loss(self, pixels: Tensor) -> Tensor:
        """Returns what an attack minimises for pixels `[1, 3, S, S]`: the cosine, or its negative."""
        cosine = self.cosine(pixels)
        return -cosine if self.towards else cosine

    def cosine(self, pixels: Tensor) -> Tensor:
        encoded = pixels if self.purify is None else _straight_through(self.purify, pixels)
        return functional.cosine_similarity(self.embed(encoded), self.reference).sum()

    def picture_cosine(self, picture: Pixels) -> float:
        """Returns the same for an image uint8 `[S, S, 3]`."""
        with torch.no_grad():
            return float(self.cosine(as_pixels(picture)))


def reference_embedding(embed: Embed, picture: Pixels) -> Tensor:
    """Returns the embedding `[1, D]` of an image uint8 `[S, S, 3]`, as a reference for others."""
    with torch.no_grad():
        embedding = embed(as_pixels(picture)).detach()
    if not bool(torch.isfinite(embedding).all()) or not bool(embedding.norm() > 0):
        raise EmbedshiftError("its embedding is zero or not finite")
    return embedding


def as_pixels(picture: Pixels) -> Tensor:
    """Converts uint8 `[S, S, 3]` to float32 `[1, 3, S, S]`."""
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float()


def as_picture(pixels: Tensor) -> Floats:
    """Converts float32 `[1, 3, S, S]` to `[S, S, 3]`."""
    picture: Floats = pixels.detach()[0].permute(1, 2, 0).cpu().numpy()
    return picture


def _straight_through(purify: Purify, pixels: Tensor) -> Tensor:
    levels = pixels.detach().round().clamp(0, 255)
    purified = as_pixels(purify(as_picture(levels).astype("uint8")))
    return pixels + (purified - pixels.detach())
