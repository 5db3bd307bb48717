"""APGD: projected gradient descent with momentum and automatic step sizes (Croce and Hein 2020, Algorithm 1)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from embedshift.encoders.attack.budget import Budget

Loss = Callable[[Tensor], Tensor]

# The paper's weight of a step against the previous one, and the fraction of steps that must lower the loss.
ALPHA, RHO = 0.75, 0.75


def apgd(loss: Loss, start: Tensor, original: Tensor, budget: Budget, steps: int) -> Tensor:
    """Returns the pixels with the lowest loss of all steps."""
    size, checked = 2 * budget.radius, set(checkpoints(steps))
    before = here = best = start
    value, gradient = value_and_gradient(loss, here)
    least, steepest = value, gradient
    # Since the last checkpoint: steps, those that lowered the loss; the least loss there, and whether it halved.
    made = lowered = 0
    least_there, halved_there = least, False
    for step in range(1, steps + 1):
        aim = budget.project(here - size * budget.direction(gradient), original)
        weight = 1.0 if step == 1 else ALPHA
        before, here = here, budget.project(here + weight * (aim - here) + (1 - weight) * (here - before), original)
        last, (value, gradient) = value, value_and_gradient(loss, here)
        made, lowered = made + 1, lowered + (value < last)
        if value < least:
            best, least, steepest = here, value, gradient
        if step in checked:
            halved_there = lowered < RHO * made or (not halved_there and least == least_there)
            if halved_there:
                size /= 2
                here, value, gradient = best, least, steepest
            least_there, made, lowered = least, 0, 0
    return best


def checkpoints(steps: int) -> list[int]:
    """Returns the steps after which the step size may be halved: far apart at first, then closer together."""
    found, last, place = list[int](), 0.0, 0.22
    while place < 1:
        found.append(math.ceil(round(place * steps, 9)))
        last, place = place, round(place + max(place - last - 0.03, 0.06), 9)
    return found


def value_and_gradient(loss: Loss, pixels: Tensor) -> tuple[float, Tensor]:
    """Returns a loss and its gradient with respect to the pixels."""
    pixels = pixels.detach().requires_grad_()
    value = loss(pixels)
    (gradient,) = torch.autograd.grad(value, pixels)
    return float(value.detach()), gradient
