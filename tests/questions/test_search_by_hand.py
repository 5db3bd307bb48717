"""Small cases worked by hand."""

import numpy as np
import polars as pl
import pytest

from embedshift import errors
from embedshift.questions.search import matching, ranks
from embedshift.questions.search import matching as pairs_module
from embedshift.questions.search import matching as recall
from embedshift.questions.search import ranks as prediction
from embedshift.questions.search import section as section_module
from embedshift.questions.search import settings as settings_module


def test_matching_matches():
    at = pl.DataFrame({"false_match_rate": [0.01], "threshold": [0.9]})
    assert matching.matches({"blur": np.array([[0.95], [0.8], [np.nan]])}, at).row(0) == (
        "blur",
        0.01,
        2,
        0.5,
        None,
        None,
    )


def test_pairs_pairs_of():
    assert repr(pairs_module.all_pairs([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 2.0]])).split() == [
        "Pairs(cosines=array([1.,",
        "0.,",
        "0.],",
        "dtype=float32),",
        "first=array([2,",
        "0,",
        "0],",
        "dtype=uint16),",
        "second=array([3,",
        "2,",
        "3],",
        "dtype=uint16),",
        "valid=array([",
        "True,",
        "False,",
        "True,",
        "True]),",
        "groups=None)",
    ]


def test_pairs_least_false_match_rate():
    assert round(pairs_module.least_false_match_rate(200), 6) == 0.000503


def test_pairs_check_false_match_rate():
    with pytest.raises(
        errors.UsageError,
        match=r"`false_match_rate` 0\.0001 needs 448 images with non-zero embeddings, there are 200: ",
    ):
        pairs_module.check_false_match_rate([0.01, 0.0001], images=200)


def test_pairs_threshold():
    pairs = pairs_module.all_pairs([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    assert repr((round(pairs_module.threshold(pairs, 0.7), 4), pairs_module.threshold(pairs, 0.4))) == "(0.7071, nan)"


def test_prediction_recall_among():
    assert prediction.recall_among(np.array([1.0, 2.0, 4.0]), images=4, size=2).round(3).tolist() == [1.0, 0.667, 0.0]


def test_ranks_overlap():
    assert ranks.overlap(np.array([[1, 2]]), np.array([[2, 3]]), 10).tolist() == [0.5]


def test_recall_of_view():
    ranks = pl.DataFrame({"image_id": ["a", "b"], "rank": [1, 3], "knn_overlap": [1.0, 0.5]})
    assert {name: numbers[1] for name, numbers in recall.recall_metrics(ranks, seed=0).items()}[
        "mrr"
    ] == 0.6666666666666666


def test_returned_rank_fractions():
    ranks = pl.DataFrame({"view": ["blur"] * 4, "rank": [1, 1, 7, 300]})
    assert section_module.rank_fractions(ranks)["blur"].tolist() == [0.5, 0.0, 0.25, 0.0, 0.25]


def test_returned_instead():
    ranks = pl.DataFrame(
        {
            "image_id": ["a", "b", "a"],
            "view": ["blur", "blur", "noise"],
            "draw": [0] * 3,
            "rank": [2, 3, 2],
            "cosine": [0.8, 0.5, 0.7],
            "other": ["b", "a", "b"],
            "other_cosine": [0.9] * 3,
        }
    )
    assert [(row["view"], row["image_id"]) for row in section_module.search_mistakes(ranks, 2)] == [
        ("blur", "b"),
        ("noise", "a"),
    ]


def test_section_trivial():
    assert section_module.trivial(10) == ["recall@10", "the neighbours kept"]


def test_section_rate_in_words():
    assert (section_module.rate_in_words(0.001), section_module.rate_in_words(0.03)) == ("1 in 1,000", "3 in 100")


def test_settings_parse_queries():
    assert (settings_module.parse_queries("all"), settings_module.parse_queries("500")) == (None, 500)


def test_settings_parse_rates():
    assert settings_module.parse_rates(["0.001", "0.01"]) == (0.01, 0.001)
