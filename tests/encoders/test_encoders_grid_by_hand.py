"""Small cases worked by hand."""

from torch import nn

from embedshift.encoders import structure as grid_module


def test_patch_grid():
    import torch

    net = nn.Conv2d(3, 8, 4, stride=4)
    grid = grid_module.PatchGrid(net)
    _ = net(torch.ones(1, 3, 8, 12))
    assert (grid.patch, grid.shape(7)) == (4, (2, 3))
