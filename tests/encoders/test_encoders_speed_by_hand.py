"""Small cases worked by hand."""

import torch
from torch import nn

from embedshift.encoders import speed


def test_class_token_shortcut():
    block = nn.ModuleDict({"mlp": nn.Identity()})
    shortcut = speed.ClassTokenShortcut(block)
    with shortcut:
        assert block["mlp"](torch.ones(2, 5, 8)).shape == (2, 1, 8)
