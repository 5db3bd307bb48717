"""The worst picture of one image within one budget: the better of PGD and APGD, once it is made of whole levels."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from embedshift.arrays import Pixels
from embedshift.encoders.attack.apgd import apgd
from embedshift.encoders.attack.budget import Budget
from embedshift.encoders.attack.goal import Goal, as_picture, as_pixels
from embedshift.encoders.attack.pgd import pgd

# Of torch, whatever the machine: with more, sums differ by rounding, and an attack makes another picture of that.
THREADS = 1
METHODS = {"pgd": pgd, "apgd": apgd}


@dataclass(frozen=True)
class Found:
    """A picture that an attack found.

    Args:
        picture: uint8 `[S, S, 3]`, inside the budget.
        cosine: Of its embedding to the one that it is compared with.
        method: "pgd" or "apgd".
    """

    picture: Pixels
    cosine: float
    method: str


def worst(goal: Goal, original: Pixels, budget: Budget, *, steps: int, seed: int) -> Found:
    """The picture that reaches a goal best.

    Through a purifier, gradients are wrong by what it does, and PGD keeps its last step, good or not: then APGD alone,
    which keeps the best, is used.

    Args:
        goal: What is looked for.
        original: uint8 `[S, S, 3]`.
        budget: What the picture is held to.
        steps: Of each method.
        seed: Decides where they begin.
    """
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
    """While entered, torch computes with a fixed number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        yield
    finally:
        torch.set_num_threads(before)
