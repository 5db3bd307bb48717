"""The budget of an attack: how far an image may be from its original, during the search and once it is stored.

During the search, pixels are float32 `[1, 3, S, S]` in [0, 255]; a found image is uint8 `[S, S, 3]`.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from embedshift.arrays import Floats, Pixels

Norm = Literal["linf", "l2"]
# Halvings of a scale between 0 and 1; more change no pixel.
_HALVINGS = 30


@dataclass(frozen=True)
class Budget:
    """All images whose distance from an original is at most `eps`."""

    norm: Norm
    eps: float

    @property
    def radius(self) -> float:
        return self.eps if self.norm == "linf" else 255 * self.eps

    def distance(self, picture: Pixels, original: Pixels) -> float:
        """Returns how far an image is from its original, in the unit of `eps`."""
        moved = picture.astype(np.int64) - original
        return float(np.abs(moved).max()) if self.norm == "linf" else float(np.sqrt(np.square(moved).sum()) / 255)

    def project(self, pixels: Tensor, original: Tensor) -> Tensor:
        """Returns the nearest pixels within the budget and within [0, 255]."""
        moved = pixels - original
        if self.norm == "linf":
            moved = moved.clamp(-self.radius, self.radius)
        else:
            moved = moved * (self.radius / moved.norm().clamp_min(1e-12)).clamp_max(1.0)
        return (original + moved).clamp(0.0, 255.0)

    def direction(self, gradient: Tensor) -> Tensor:
        """Returns the step of length 1 in this norm along which a value rises most."""
        return gradient.sign() if self.norm == "linf" else gradient / gradient.norm().clamp_min(1e-12)

    def start(self, original: Tensor, seed: int) -> Tensor:
        """Returns a start within the budget, decided by the seed; at the original itself the cosine has no gradient."""
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
        levels = _levels(base + moved)
        if self.distance(levels, original) <= self.eps:
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
        """Returns the control of an attack: an equally distant image in a random direction, each value up or down."""
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
