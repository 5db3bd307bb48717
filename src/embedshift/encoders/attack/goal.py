"""The goal of an attack: a cosine that is brought down, or up to another image's embedding."""

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
    """What is looked for.

    Args:
        embed: As `ModuleEncoder.differentiable` gives it.
        reference: The embedding `[1, D]` that a picture's is compared with.
        towards: Whether the picture shall come near to it; by default it shall move away.
        purify: What is done to every picture before it is encoded. Gradients pass it as if it changed nothing (BPDA,
            Athalye et al. 2018).

    Example:
        >>> goal = Goal(lambda pixels: pixels.flatten(1), torch.tensor([[3.0, 0.0, 4.0]]))
        >>> round(float(goal.loss(torch.tensor([[[[3.0]], [[0.0]], [[0.0]]]]))), 3)
        0.6
    """

    embed: Embed
    reference: Tensor
    towards: bool = False
    purify: Purify | None = None

    def loss(self, pixels: Tensor) -> Tensor:
        """What an attack lowers, of pixels `[1, 3, S, S]`: the cosine, or its negative."""
        cosine = self.cosine(pixels)
        return -cosine if self.towards else cosine

    def cosine(self, pixels: Tensor) -> Tensor:
        """The cosine of the picture's embedding to the reference."""
        seen = pixels if self.purify is None else _through(self.purify, pixels)
        return functional.cosine_similarity(self.embed(seen), self.reference).sum()

    def cosine_of(self, picture: Pixels) -> float:
        """The same of whole levels `[S, S, 3]`."""
        with torch.no_grad():
            return float(self.cosine(as_pixels(picture)))


def reference_of(embed: Embed, picture: Pixels) -> Tensor:
    """The embedding `[1, D]` of a picture uint8 `[S, S, 3]`, to compare others with.

    Raises:
        EmbedshiftError: when it has no direction.
    """
    with torch.no_grad():
        found = embed(as_pixels(picture)).detach()
    if not bool(torch.isfinite(found).all()) or not bool(found.norm() > 0):
        raise EmbedshiftError("its embedding is zero or not finite")
    return found


def as_pixels(picture: Pixels) -> Tensor:
    """uint8 `[S, S, 3]` as float32 `[1, 3, S, S]`."""
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float()


def as_picture(pixels: Tensor) -> Floats:
    """float32 `[1, 3, S, S]` as `[S, S, 3]`."""
    picture: Floats = pixels.detach()[0].permute(1, 2, 0).cpu().numpy()
    return picture


def _through(purify: Purify, pixels: Tensor) -> Tensor:
    """The purified picture, whose gradient is that of the picture itself."""
    whole = pixels.detach().round().clamp(0, 255)
    purified = as_pixels(purify(as_picture(whole).astype("uint8")))
    return pixels + (purified - pixels.detach())
