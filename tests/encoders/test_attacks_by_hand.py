"""Small cases worked by hand."""

import torch

from embedshift.encoders.attack import apgd as apgd_module
from embedshift.encoders.attack import budget
from embedshift.encoders.attack import goal as goal_module
from embedshift.encoders.attack.budget import Budget


def test_apgd_apgd():
    corner = torch.full((1, 3, 2, 2), 9.0)
    found = apgd_module.apgd(lambda x: (x - 200).square().sum(), corner, corner, Budget("linf", 4), steps=20)
    assert found.unique().tolist() == [13.0]


def test_apgd_checkpoints():
    assert apgd_module.checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]


def test_budget_budget():
    assert (budget.Budget("linf", 4).radius, budget.Budget("l2", 1.0).radius) == (4, 255.0)


def test_goal_goal():
    goal = goal_module.Goal(lambda pixels: pixels.flatten(1), torch.tensor([[3.0, 0.0, 4.0]]))
    assert round(float(goal.loss(torch.tensor([[[[3.0]], [[0.0]], [[0.0]]]]))), 3) == 0.6
