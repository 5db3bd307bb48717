"""Small cases worked by hand."""

import numpy as np

from embedshift.encoders.base import EncoderOutput
from embedshift.pipeline import baseline, batches, encoded, limit


def test_batches_batch():
    assert batches.Batch(40).size == 40


def test_encoded_unusable():
    assert (
        encoded.unusable(EncoderOutput(np.zeros((2, 8), np.float32), None, None))
        == "the encoder's embedding is a zero vector, which has no direction"
    )


def test_baseline_pairs_wanted():
    assert (baseline.pairs_wanted(64, 200), baseline.pairs_wanted(64, 1000000), baseline.pairs_wanted(20, 20)) == (
        64,
        4,
        190,
    )


def test_baseline_pairs_of():
    assert list(baseline.pairs_of(4))[:3] == [(0, 1), (2, 3), (1, 2)]


def test_limit_time_limit():
    with limit.time_limit(60) as next_step:
        next_step()
