"""Every picture is inside its budget once it is made of whole levels, and the control uses the budget up."""

import math

import numpy as np
import pytest
import torch

from embedshift.encoders.attack import Budget

BUDGETS = [Budget("linf", eps) for eps in (1, 4, 255)] + [Budget("l2", eps) for eps in (0.01, 0.3, 1.0, 30.0)]
NAMES = [f"{each.norm}-{each.eps:g}" for each in BUDGETS]


def inside(picture, original, budget):
    """By whole numbers alone."""
    moved = [int(a) - int(b) for a, b in zip(picture.ravel(), original.ravel(), strict=True)]
    if budget.norm == "linf":
        return max(map(abs, moved)) <= budget.eps
    return sum(each * each for each in moved) <= (255 * budget.eps) ** 2 * (1 + 1e-12)


def pictures(side=24):
    rng = np.random.default_rng(0)
    yield rng.integers(0, 256, (side, side, 3), np.uint8)
    yield rng.choice([0, 1, 254, 255], (side, side, 3)).astype(np.uint8)  # at the ends of the range


@pytest.mark.parametrize("budget", BUDGETS, ids=NAMES)
def test_whole_levels_are_inside(budget):
    for seed, original in enumerate(pictures()):
        for reach in (0.5, 1.0, 3.0):  # further than the budget too
            rng = np.random.default_rng(seed)
            away = rng.normal(size=original.shape)
            size = np.abs(away).max() if budget.norm == "linf" else np.linalg.norm(away)
            found = budget.rounded(original + reach * budget.radius * away / size, original)
            assert found.dtype == np.uint8
            assert inside(found, original, budget)
            assert budget.distance(found, original) <= budget.eps


def test_rounding_alone_would_leave_an_l2_ball():
    budget, original = Budget("l2", 0.3), next(pictures())
    away = np.random.default_rng(0).normal(size=original.shape)
    moved = original + budget.radius * away / np.linalg.norm(away)
    assert not inside(np.clip(np.rint(moved), 0, 255).astype(np.uint8), np.clip(original, 0, 255), Budget("l2", 0.25))
    lifted = 1.02 * budget.radius * away / np.linalg.norm(away)
    assert not inside(np.rint(np.clip(original + lifted, 0, 255)).astype(np.uint8), original, budget)
    found = budget.rounded(original + lifted, original)
    assert budget.distance(found, original) > 0.9 * budget.eps, "no more is given up than must be"


@pytest.mark.parametrize("budget", BUDGETS, ids=NAMES)
def test_start_and_projection_are_inside_and_the_seed_decides(budget):
    original = torch.from_numpy(next(pictures())).permute(2, 0, 1)[None].float()
    start = budget.start(original, 7)
    far = budget.project(
        original + 500 * torch.randn(original.shape, generator=torch.Generator().manual_seed(0)), original
    )
    for pixels in (start, far):
        moved = (pixels - original).double()
        size = moved.abs().max() if budget.norm == "linf" else moved.norm()
        assert float(size) <= budget.radius * (1 + 1e-5) + 1e-4
        assert 0 <= float(pixels.min()) <= float(pixels.max()) <= 255
    assert torch.equal(start, budget.start(original, 7))
    assert not torch.equal(start, budget.start(original, 8))
    assert not torch.equal(start, original)


@pytest.mark.parametrize("budget", BUDGETS, ids=NAMES)
def test_random_signs_use_the_budget_up(budget):
    original = np.full((24, 24, 3), 128, np.uint8)
    found = budget.random_signs(original, 3)
    assert inside(found, original, budget)
    if budget.eps not in (255, 30.0):  # there the range of colours ends first
        wanted = budget.eps if budget.norm == "linf" else math.floor((255 * budget.eps) ** 2) ** 0.5 / 255
        assert budget.distance(found, original) == pytest.approx(wanted, rel=0.02)
    ups, downs = (found > original).sum(), (found < original).sum()
    assert abs(int(ups) - int(downs)) < 5 * math.sqrt(max(1, ups + downs))
    assert np.array_equal(found, budget.random_signs(original, 3))
    for each in pictures():
        assert inside(budget.random_signs(each, 1), each, budget)
