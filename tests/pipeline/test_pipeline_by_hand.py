"""Small cases worked by hand."""

import numpy as np

from embedshift.encoders.base import EncoderOutput
from embedshift.pipeline import batches
from embedshift.pipeline import draw as limit
from embedshift.pipeline import records as baseline


def test_batches_unusable():
    assert (
        batches.unusable(EncoderOutput(np.zeros((2, 8), np.float32), None, None))
        == "the encoder's embedding is a zero vector, which has no direction"
    )


def test_baseline_pairs_wanted():
    assert (baseline.pair_count(64, 200), baseline.pair_count(64, 1000000), baseline.pair_count(20, 20)) == (
        64,
        4,
        190,
    )


def test_baseline_pairs_of():
    assert list(baseline.index_pairs(4))[:3] == [(0, 1), (2, 3), (1, 2)]


def test_limit_time_limit():
    with limit.time_limit(60) as next_step:
        next_step()
