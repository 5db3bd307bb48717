"""The worst change of an image within a budget: the goal, the budget, and projected gradient descent.

The better result of PGD (constant step size) and APGD (momentum, automatic step sizes) counts, after rounding to whole
levels. During the search, pixels are float32 `[1, 3, S, S]` in [0, 255]; a found image is uint8 `[S, S, 3]`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from embedshift.arrays import Floats, Pixels
from embedshift.errors import EmbedshiftError

Embed = Callable[[Tensor], Tensor]
Purify = Callable[[Pixels], Pixels]
Loss = Callable[[Tensor], Tensor]
Norm = Literal["linf", "l2"]
# Halvings of a scale between 0 and 1; further ones change no pixel.
_HALVINGS = 30
# Total length of PGD's steps, as a multiple of the budget (Madry et al. 2018).
REACH = 2.5
# APGD's weight of a step against the previous one, and the fraction of steps that must lower the loss.
ALPHA, RHO = 0.75, 0.75


@dataclass(frozen=True)
class Goal:
    embed: Embed
    reference: Tensor
    towards: bool = False
    purify: Purify | None = None

    def loss(self, pixels: Tensor) -> Tensor:
        cosine = self.cosine(pixels)
        return -cosine if self.towards else cosine

    def cosine(self, pixels: Tensor) -> Tensor:
        encoded = pixels if self.purify is None else _straight_through(self.purify, pixels)
        return functional.cosine_similarity(self.embed(encoded), self.reference).sum()

    def picture_cosine(self, picture: Pixels) -> float:
        with torch.no_grad():
            return float(self.cosine(as_pixels(picture)))


def reference_embedding(embed: Embed, picture: Pixels) -> Tensor:
    with torch.no_grad():
        embedding = embed(as_pixels(picture)).detach()
    if not bool(torch.isfinite(embedding).all()) or not bool(embedding.norm() > 0):
        raise EmbedshiftError("its embedding is zero or not finite")
    return embedding


def as_pixels(picture: Pixels) -> Tensor:
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float()


def as_picture(pixels: Tensor) -> Floats:
    return np.asarray(pixels.detach()[0].permute(1, 2, 0).cpu().numpy())


def _straight_through(purify: Purify, pixels: Tensor) -> Tensor:
    levels = pixels.detach().round().clamp(0, 255)
    purified = as_pixels(purify(as_picture(levels).astype("uint8")))
    return pixels + (purified - pixels.detach())


@dataclass(frozen=True)
class Budget:
    norm: Norm
    eps: float

    @property
    def radius(self) -> float:
        return self.eps if self.norm == "linf" else 255 * self.eps

    def distance(self, picture: Pixels, original: Pixels) -> float:
        moved = picture.astype(np.int64) - original
        return float(np.abs(moved).max()) if self.norm == "linf" else float(np.sqrt(np.square(moved).sum()) / 255)

    def project(self, pixels: Tensor, original: Tensor) -> Tensor:
        moved = pixels - original
        if self.norm == "linf":
            moved = moved.clamp(-self.radius, self.radius)
        else:
            moved = moved * (self.radius / moved.norm().clamp_min(1e-12)).clamp_max(1.0)
        return (original + moved).clamp(0.0, 255.0)

    def direction(self, gradient: Tensor) -> Tensor:
        return gradient.sign() if self.norm == "linf" else gradient / gradient.norm().clamp_min(1e-12)

    def start(self, original: Tensor, seed: int) -> Tensor:
        """Returns a random start within the budget; at the original itself the cosine has no gradient."""
        rng = np.random.default_rng(seed)
        if self.norm == "linf":
            moved = rng.uniform(-self.radius, self.radius, original.shape)
        else:
            moved = rng.normal(size=original.shape)
            moved *= self.radius * rng.uniform() / np.linalg.norm(moved)
        return self.project(original + torch.from_numpy(moved.astype(np.float32)), original)

    def rounded(self, pixels: Floats, original: Pixels) -> Pixels:
        """Rounds to whole levels within the budget; plain rounding would leave an "l2" ball."""
        base = original.astype(np.float64)
        if self.norm == "linf":
            radius = np.floor(self.radius)
            low, high = np.maximum(base - radius, 0), np.minimum(base + radius, 255)
            return np.asarray(np.clip(np.rint(pixels), low, high), np.uint8)
        moved, low_scale, high_scale = pixels - base, 0.0, 1.0
        if self.distance(levels := _levels(base + moved), original) <= self.eps:
            return levels
        levels = original
        for _ in range(_HALVINGS):
            scale = (low_scale + high_scale) / 2
            candidate = _levels(base + scale * moved)
            if self.distance(candidate, original) <= self.eps:
                levels, low_scale = candidate, scale
            else:
                high_scale = scale
        return levels

    def random_signs(self, original: Pixels, seed: int) -> Pixels:
        """Returns the control of an attack: each value up or down at random, at equal distance."""
        rng = np.random.default_rng(seed)
        signs = rng.integers(0, 2, original.shape) * 2 - 1
        count = original.size
        step = int(self.radius if self.norm == "linf" else self.radius / np.sqrt(count))
        levels = np.full(count, step)
        if self.norm == "l2":
            larger = int((self.radius**2 - count * step**2) / (2 * step + 1))
            levels[rng.permutation(count)[: min(larger, count)]] += 1
        return _levels(original + signs * levels.reshape(original.shape))


def _levels(pixels: np.ndarray) -> Pixels:
    return np.asarray(np.clip(np.rint(pixels), 0, 255), np.uint8)


def pgd(loss: Loss, start: Tensor, original: Tensor, budget: Budget, steps: int) -> Tensor:
    size, pixels = REACH / steps * budget.radius, start
    for _ in range(steps):
        _, gradient = value_and_gradient(loss, pixels)
        pixels = budget.project(pixels - size * budget.direction(gradient), original)
    return pixels


def apgd(loss: Loss, start: Tensor, original: Tensor, budget: Budget, steps: int) -> Tensor:
    """Returns the pixels with the lowest loss of all steps of APGD (Croce and Hein 2020, Algorithm 1)."""
    size, checked = 2 * budget.radius, set(checkpoints(steps))
    before = current = best = start
    value, gradient = value_and_gradient(loss, current)
    least, steepest = value, gradient
    # Since the last checkpoint: steps, and steps that lowered the loss. At the checkpoint: lowest loss, and whether the
    # step size was halved.
    steps_made = lowered = 0
    checkpoint_least, halved = least, False
    for step in range(1, steps + 1):
        target = budget.project(current - size * budget.direction(gradient), original)
        weight = 1.0 if step == 1 else ALPHA
        before, current = (
            current,
            budget.project(current + weight * (target - current) + (1 - weight) * (current - before), original),
        )
        previous_value, (value, gradient) = value, value_and_gradient(loss, current)
        steps_made, lowered = steps_made + 1, lowered + (value < previous_value)
        if value < least:
            best, least, steepest = current, value, gradient
        if step in checked:
            halved = lowered < RHO * steps_made or (not halved and least == checkpoint_least)
            if halved:
                size /= 2
                current, value, gradient = best, least, steepest
            checkpoint_least, steps_made, lowered = least, 0, 0
    return best


def checkpoints(steps: int) -> list[int]:
    """Returns the steps after which the step size may be halved; their distance decreases."""
    steps_checked, previous, fraction = list[int](), 0.0, 0.22
    while fraction < 1:
        steps_checked.append(math.ceil(round(fraction * steps, 9)))
        previous, fraction = fraction, round(fraction + max(fraction - previous - 0.03, 0.06), 9)
    return steps_checked


def value_and_gradient(loss: Loss, pixels: Tensor) -> tuple[float, Tensor]:
    pixels = pixels.detach().requires_grad_()
    value = loss(pixels)
    (gradient,) = torch.autograd.grad(value, pixels)
    return float(value.detach()), gradient


class AttackResult(NamedTuple):
    picture: Pixels
    cosine: float
    method: str


def worst_image(goal: Goal, original: Pixels, budget: Budget, *, steps: int, seed: int) -> AttackResult:
    original_pixels = as_pixels(original)
    start = budget.start(original_pixels, seed)
    results: list[AttackResult] = []
    methods = {"pgd": pgd, "apgd": apgd} if goal.purify is None else {"apgd": apgd}
    for name, method in methods.items():
        pixels = method(goal.loss, start, original_pixels, budget, steps)
        picture = budget.rounded(as_picture(pixels), original)
        results.append(AttackResult(picture, goal.picture_cosine(picture), name))
    return min(results, key=lambda result: -result.cosine if goal.towards else result.cosine)
