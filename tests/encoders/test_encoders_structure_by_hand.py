"""Small cases worked by hand."""

from torch import nn

from embedshift.encoders import structure


def test_like_blocks():
    net = nn.Sequential(nn.Conv2d(3, 8, 4), nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)]))
    assert len(structure.like_blocks(net)) == 2


def test_patch_embedding():
    assert structure.patch_embedding(nn.Sequential(nn.Conv2d(3, 8, 4, stride=4))).kernel_size == (4, 4)
