"""The worst image within one budget: the better of PGD and APGD after rounding to whole levels."""

from typing import NamedTuple

from embedshift.arrays import Pixels
from embedshift.encoders.attack.budget import Budget
from embedshift.encoders.attack.descent import apgd, pgd
from embedshift.encoders.attack.goal import Goal, as_picture, as_pixels

METHODS = {"pgd": pgd, "apgd": apgd}


class AttackResult(NamedTuple):
    picture: Pixels
    cosine: float
    method: str


def worst_image(goal: Goal, original: Pixels, budget: Budget, *, steps: int, seed: int) -> AttackResult:
    """Returns the image that reaches a goal best."""
    original_pixels = as_pixels(original)
    start = budget.start(original_pixels, seed)
    results: list[AttackResult] = []
    for name, method in METHODS.items():
        if goal.purify is None or name == "apgd":
            pixels = method(goal.loss, start, original_pixels, budget, steps)
            picture = budget.rounded(as_picture(pixels), original)
            results.append(AttackResult(picture, goal.picture_cosine(picture), name))
    return min(results, key=lambda result: -result.cosine if goal.towards else result.cosine)
