"""Small cases worked by hand."""

import torch

from embedshift.encoders.attack import budget
from embedshift.encoders.attack import goal as goal_module


def test_budget_budget():
    assert (budget.Budget("linf", 4).radius, budget.Budget("l2", 1.0).radius) == (4, 255.0)


def test_goal_goal():
    goal = goal_module.Goal(lambda pixels: pixels.flatten(1), torch.tensor([[3.0, 0.0, 4.0]]))
    assert round(float(goal.loss(torch.tensor([[[[3.0]], [[0.0]], [[0.0]]]]))), 3) == 0.6
