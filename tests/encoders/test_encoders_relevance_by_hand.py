"""Small cases worked by hand."""

import numpy as np
from torch import nn

from embedshift.encoders import relevance


def test_explainer():
    import functools

    from embedshift.encoders.module import wrap

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            block = functools.partial(nn.TransformerEncoderLayer, 8, 2, 8, batch_first=True, norm_first=True)
            self.cut, self.blocks = (nn.Conv2d(3, 8, 4, stride=4), nn.Sequential(block(), block()))

        def forward(self, pixels):
            return self.blocks(self.cut(pixels).flatten(2).transpose(1, 2)).mean(dim=1)

    encoder = wrap(Net(), size=8, mean=(0.5,) * 3, std=(0.5,) * 3)
    maps = relevance.Explainer(encoder, ["relevance", "tokens"])(np.zeros((1, 8, 8, 3), np.uint8), np.ones(8))
    assert (maps["relevance"].shape, maps["tokens"].shape) == ((1, 2, 2), (1, 2, 2))
