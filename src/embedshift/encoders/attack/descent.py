"""Projected gradient descent: with a constant step size (PGD), and with momentum and automatic step sizes (APGD).

The worst image within a budget is that of the better one, after rounding to whole levels.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from embedshift.arrays import Pixels
from embedshift.encoders.attack.budget import Budget
from embedshift.encoders.attack.goal import Goal, as_picture, as_pixels

Loss = Callable[[Tensor], Tensor]

# The length of all steps of PGD together, as a multiple of the budget (Madry et al. 2018).
REACH = 2.5
# APGD's weight of a step against the previous one, and the fraction of steps that must lower the loss.
ALPHA, RHO = 0.75, 0.75


def pgd(loss: Loss, start: Tensor, original: Tensor, budget: Budget, steps: int) -> Tensor:
    """Returns the pixels after the last step of PGD; arguments as in `apgd`."""
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
    # Since the last checkpoint: steps, and those that lowered the loss; there: the least loss, and whether it halved.
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
    """Returns the steps after which the step size may be halved: far apart at first, then closer together."""
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


METHODS = {"pgd": pgd, "apgd": apgd}


class AttackResult(NamedTuple):
    picture: Pixels
    cosine: float
    method: str


def worst_image(goal: Goal, original: Pixels, budget: Budget, *, steps: int, seed: int) -> AttackResult:
    original_pixels = as_pixels(original)
    start = budget.start(original_pixels, seed)
    results: list[AttackResult] = []
    for name, method in METHODS.items():
        if goal.purify is None or name == "apgd":
            pixels = method(goal.loss, start, original_pixels, budget, steps)
            picture = budget.rounded(as_picture(pixels), original)
            results.append(AttackResult(picture, goal.picture_cosine(picture), name))
    return min(results, key=lambda result: -result.cosine if goal.towards else result.cosine)
