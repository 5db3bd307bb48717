"""Small cases worked by hand."""

import torch

from embedshift.encoders.attack import Budget, Goal


def test_budget_radius():
    assert (Budget("linf", 4).radius, Budget("l2", 1.0).radius) == (4, 255.0)


def test_goal_loss():
    goal = Goal(lambda pixels: pixels.flatten(1), torch.tensor([[3.0, 0.0, 4.0]]))
    assert round(float(goal.loss(torch.tensor([[[[3.0]], [[0.0]], [[0.0]]]]))), 3) == 0.6
