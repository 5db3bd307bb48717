"""Small cases worked by hand."""

import torch
from torch import nn

from embedshift.encoders.hooks import BlockHook, BlockHooks


def test_taps_hear_what_a_block_calls():
    heard = []

    class Heard(BlockHook):
        def on_call(self, func, args, kwargs, result):
            heard.append((func.__name__, tuple(result.shape)))

    block, block_hooks = nn.Linear(3, 2), BlockHooks()
    stop = block_hooks.listen(block, Heard())
    with torch.inference_mode():
        block(torch.ones(1, 3))
    stop()
    assert heard == [("linear", (1, 2))]
