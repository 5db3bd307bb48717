"""Small cases worked by hand."""

from torch import nn

from embedshift.encoders import taps as taps_module


def test_taps():
    import torch

    class Heard(taps_module.Listener):
        def heard(self, func, args, kwargs, result):
            print(func.__name__, tuple(result.shape))

    block, taps = (nn.Linear(3, 2), taps_module.Taps())
    stop = taps.listen(block, Heard())
    with torch.inference_mode():
        _ = block(torch.ones(1, 3))
    # UNCONVERTED 'linear (1, 2)'
    stop()
