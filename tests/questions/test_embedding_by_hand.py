"""Small cases worked by hand."""

import numpy as np

from embedshift.questions.embedding import measure


def test_unit_sums():
    sums = measure.NormalisedSums(chunk_size=2)
    for vector in ([3.0, 4.0], [0.0, 0.0], [0.0, 2.0]):
        sums.add_vector(np.array(vector))
    found = sums.close()
    assert (found["images"].tolist(), found["valid"].tolist(), found["normalised"].tolist()) == (
        [2.0, 1.0],
        [1.0, 1.0],
        [[0.6, 0.8], [0.0, 1.0]],
    )
