"""The worst image within one budget: the better of PGD and APGD after rounding to whole levels."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from embedshift.arrays import Pixels
from embedshift.encoders.attack.apgd import apgd
from embedshift.encoders.attack.budget import Budget
from embedshift.encoders.attack.goal import Goal, as_picture, as_pixels
from embedshift.encoders.attack.pgd import pgd

# Torch's threads on every machine: another number rounds sums differently, and the attack finds another image.
THREADS = 1
METHODS = {"pgd": pgd, "apgd": apgd}


@dataclass(frozen=True)
class Found:
    """An image that an attack found."""

    picture: Pixels
    cosine: float
    method: str


def worst(goal: Goal, original: Pixels, budget: Budget, *, steps: int, seed: int) -> Found:
    """Returns the image that reaches a goal best."""
    middle = as_pixels(original)
    start = budget.start(middle, seed)
    found: list[Found] = []
    for name, method in METHODS.items():
        if goal.purify is None or name == "apgd":
            pixels = method(goal.loss, start, middle, budget, steps)
            picture = budget.rounded(as_picture(pixels), original)
            found.append(Found(picture, goal.cosine_of(picture), name))
    return min(found, key=lambda each: -each.cosine if goal.towards else each.cosine)


@contextlib.contextmanager
def fixed_threads() -> Iterator[None]:
    """Makes torch compute with a fixed number of threads inside the context."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        yield
    finally:
        torch.set_num_threads(before)
