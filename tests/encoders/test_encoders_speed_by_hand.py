"""Small cases worked by hand."""

from torch import nn

from embedshift.encoders import speed


def test_class_token_shortcut():
    import torch

    block = nn.ModuleDict({"mlp": nn.Identity()})
    shortcut = speed.ClassTokenShortcut(block)
    with shortcut:
        block["mlp"](torch.ones(2, 5, 8)).shape
    # UNCONVERTED 'torch.Size([2, 1, 8])'
