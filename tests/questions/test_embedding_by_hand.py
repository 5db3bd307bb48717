"""Small cases worked by hand."""

import numpy as np
import polars as pl

from embedshift.questions.embedding import answer, measure
from embedshift.statistics.summary import COSINE


def test_answer_how_far():
    table = pl.DataFrame(
        {
            "augmentation": ["noise", "flip"],
            "metric": [COSINE] * 2,
            "mean": [0.5, 0.97],
            "baseline": [0.6] * 2,
            "relative_shift": [1.25, 0.075],
            "relative_shift_low": [1.1, 0.07],
            "relative_shift_high": [1.4, 0.08],
        }
    )
    for sentence in answer.how_far(table, "CLIP", 50, {"noise": 0.8})[:2]:
        print(sentence.striptags())
    # UNCONVERTED 'noise moves the embedding of CLIP furthest: 1.25 [1.10 to 1.40] of the distance to another image.\nA view under noise is on average 0.80 times as far from its own original as from the originals of other images.'


def test_measure_unit_sums():
    sums = measure.UnitSums(each=2)
    for vector in ([3.0, 4.0], [0.0, 0.0], [0.0, 2.0]):
        sums.add_vector(np.array(vector))
    found = sums.close()
    assert (found["images"].tolist(), found["valid"].tolist(), found["units"].tolist()) == (
        [2.0, 1.0],
        [1.0, 1.0],
        [[0.6, 0.8], [0.0, 1.0]],
    )
