"""Attacks: pictures inside their budget, APGD as the paper prints it, PGD as a plain loop, and the goal."""

import math

import numpy as np
import pytest
import torch

from embedshift.augmentations.variant import purifier
from embedshift.encoders.attack import (
    REACH,
    Budget,
    Goal,
    apgd,
    as_pixels,
    pgd,
    reference_embedding,
    value_and_gradient,
    worst_image,
)  # fmt: skip
from embedshift.errors import EmbedshiftError
from support.matrix import first_only

# Budgets.

BUDGETS = [Budget("linf", eps) for eps in (1, 4, 255)] + [Budget("l2", eps) for eps in (0.01, 0.3, 30.0)]
each_budget = pytest.mark.parametrize("budget", BUDGETS, ids=lambda each: f"{each.norm}-{each.eps:g}")


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


@each_budget
def test_whole_levels_are_inside(budget):
    for seed, original in enumerate(pictures()):
        for reach in (0.5, 1.0, 3.0):  # further than the budget too
            away = np.random.default_rng(seed).normal(size=original.shape)
            size = np.abs(away).max() if budget.norm == "linf" else np.linalg.norm(away)
            found = budget.rounded(original + reach * budget.radius * away / size, original)
            assert found.dtype == np.uint8
            assert inside(found, original, budget)
            assert budget.distance(found, original) <= budget.eps
            if seed == 0 and reach == 1.0 and budget.eps == 0.3:  # an l2 ball, which rounding alone would leave
                assert budget.distance(found, original) > 0.9 * budget.eps, "no more is given up than must be"


@each_budget
def test_start_and_projection_are_inside_and_the_seed_decides(budget):
    original = as_pixels(next(pictures()))
    start = budget.start(original, 7)
    noise = torch.randn(original.shape, generator=torch.Generator().manual_seed(0))
    for pixels in (start, budget.project(original + 500 * noise, original)):
        moved = (pixels - original).double()
        size = moved.abs().max() if budget.norm == "linf" else moved.norm()
        assert float(size) <= budget.radius * (1 + 1e-5) + 1e-4
        assert 0 <= float(pixels.min()) <= float(pixels.max()) <= 255
    assert torch.equal(start, budget.start(original, 7))
    assert not torch.equal(start, budget.start(original, 8))
    assert not torch.equal(start, original)


@each_budget
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
    assert all(inside(budget.random_signs(each, 1), each, budget) for each in pictures())


# Methods.

STEPS = [Budget("linf", 4), Budget("linf", 30), Budget("l2", 0.05), Budget("l2", 0.5)]
SHAPE = (1, 3, 4, 4)


def landscape(seed, *, ripples=0.0):
    """A skewed quadratic whose lowest place lies outside most budgets; ripples make steps overshoot."""
    rng = np.random.default_rng(seed)
    weights, lowest = rng.uniform(0.01, 3.0, SHAPE), rng.uniform(-40, 300, SHAPE)

    def loss(pixels):
        off = (pixels.double() - torch.from_numpy(lowest)) / 20
        return (torch.from_numpy(weights) * (off**2 + ripples * torch.cos(7 * off))).sum()

    return loss, torch.from_numpy(rng.uniform(0, 255, SHAPE))


def project(x, original, budget):
    """By hand, in float64: the ball, then the box."""
    moved = x - original
    if budget.norm == "linf":
        moved = np.minimum(np.maximum(moved, -budget.eps), budget.eps)
    else:
        length = math.sqrt(float((moved**2).sum()))
        moved = moved * min(1.0, 255 * budget.eps / length) if length else moved
    return np.minimum(np.maximum(original + moved, 0.0), 255.0)


def step_of(gradient, budget):
    return np.sign(gradient) if budget.norm == "linf" else gradient / math.sqrt(float((gradient**2).sum()))


def printed(loss, start, original, budget, steps):
    """Algorithm 1 of Croce and Hein (2020) for a loss that is lowered, with all that it names kept in lists."""

    def f(x):
        return -value_and_gradient(loss, torch.from_numpy(x))[0]

    def gradient(x):
        return -value_and_gradient(loss, torch.from_numpy(x))[1].numpy()

    p = [0.0, 0.22]
    while p[-1] + max(p[-1] - p[-2] - 0.03, 0.06) < 1 - 1e-9:
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
    w = [math.ceil(each * steps - 1e-6) for each in p]
    eta = 2 * (budget.eps if budget.norm == "linf" else 255 * budget.eps)
    x0 = start
    x1 = project(x0 + eta * step_of(gradient(x0), budget), original, budget)
    f_max, x_max = max((f(x0), x0), (f(x1), x1), key=lambda pair: pair[0])
    xs, etas, maxima, rises, halvings = [x0, x1], [eta], [f(x0)], [f(x1) > f(x0)], 0
    for k in range(1, steps + 1):
        if k in w:  # of the iterate k, which is made
            since = w[w.index(k) - 1]
            few = sum(rises[since:k]) < 0.75 * (k - since)
            same = etas[-1] == eta and maxima[-1] == f_max
            etas.append(eta)
            maxima.append(f_max)
            if few or same:
                eta, xs[k], halvings = eta / 2, x_max, halvings + 1
        if k == steps:
            break
        z = project(xs[k] + eta * step_of(gradient(xs[k]), budget), original, budget)
        new = project(xs[k] + 0.75 * (z - xs[k]) + 0.25 * (xs[k] - xs[k - 1]), original, budget)
        rises.append(f(new) > f(xs[k]))
        xs.append(new)
        if f(new) > f_max:
            f_max, x_max = f(new), new
    return x_max, halvings


@pytest.mark.slow
@pytest.mark.parametrize("ripples", first_only([0.0, 2.0]))
def test_apgd_is_the_printed_algorithm(ripples):
    halved = 0
    for budget in STEPS:
        for seed in range(3):
            loss, original = landscape(seed, ripples=ripples)
            start = budget.start(original, seed)
            expected, halvings = printed(loss, start.numpy(), original.numpy(), budget, 40)
            found = apgd(loss, start, original, budget, 40)
            np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
            assert float(loss(found)) < float(loss(start))
            halved += halvings
    assert halved > 10, "the rule that halves steps was tried"


def test_steps_that_fall_and_never_reach_the_best_go_back_to_it():
    """The second condition: nearly all of nine steps lower the loss, and none is below the start."""
    values, signs = iter([0, *range(10, 1, -1), -1, *[5] * 30]), iter([1, *[-1] * 40])

    def scripted(pixels):
        return next(values) + next(signs) * (pixels - pixels.detach()).sum()

    original = torch.full(SHAPE, 128.0)
    found = apgd(scripted, original, original, Budget("linf", 100), 40)
    assert (found < original).all(), "step 10 began at the start again, along its gradient"


def test_pgd_is_the_plain_loop():
    loss, middle = landscape(0)
    for budget in STEPS:
        start = budget.start(middle.float(), 1)
        size = REACH / 15 * (budget.eps if budget.norm == "linf" else 255 * budget.eps)
        x = start.double().numpy()
        for _ in range(15):
            _, gradient = value_and_gradient(loss, torch.from_numpy(x))
            x = project(x - size * step_of(gradient.numpy(), budget), middle.numpy(), budget)
        np.testing.assert_allclose(pgd(loss, start, middle.float(), budget, 15).numpy(), x, atol=2e-3)


# The goal.


def embed(pixels):
    """A fixed linear map that keeps directions apart."""
    weights = torch.from_numpy(np.random.default_rng(3).normal(size=(48, 5)).astype(np.float32))
    return pixels.flatten(1) @ weights


def picture(seed):
    return np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)


def test_gradients_pass_a_purifier_as_if_it_changed_nothing():
    image, other = picture(0), picture(1)
    purify = purifier("bits:3")
    goal = Goal(embed, reference_embedding(embed, other), purify=purify)
    value, gradient = value_and_gradient(goal.loss, as_pixels(image))
    plain = Goal(embed, reference_embedding(embed, other))
    there, straight = value_and_gradient(plain.loss, as_pixels(purify(image)))
    assert value == pytest.approx(there, abs=1e-6)
    torch.testing.assert_close(gradient, straight)
    assert value != pytest.approx(plain.picture_cosine(image), abs=1e-4)


def test_the_better_of_both_is_kept_and_towards_turns_the_sign():
    image, other, budget = picture(0), picture(1), Budget("linf", 8)
    for towards, reference in ((False, image), (True, other)):
        goal = Goal(embed, reference_embedding(embed, reference), towards=towards)
        found = worst_image(goal, image, budget, steps=10, seed=0)
        assert found.cosine == pytest.approx(goal.picture_cosine(found.picture))
        each = []
        for method in (pgd, apgd):
            pixels = method(goal.loss, budget.start(as_pixels(image), 0), as_pixels(image), budget, 10)
            each.append(goal.picture_cosine(budget.rounded(pixels[0].permute(1, 2, 0).numpy(), image)))
        assert found.cosine == pytest.approx(max(each) if towards else min(each))


@pytest.mark.parametrize("broken", [lambda pixels: pixels.flatten(1) * 0, lambda pixels: pixels.flatten(1) / 0])
def test_an_embedding_without_direction_is_no_reference(broken):
    with pytest.raises(EmbedshiftError, match="its embedding is zero or not finite"):
        reference_embedding(broken, picture(0))
