"""Small cases worked by hand."""

import numpy as np
import polars as pl

from embedshift.questions.text import measure, search, tables
from embedshift.questions.text import section as section_module


def test_measure_zero_shot_margin():
    assert measure.zero_shot_margin([1.0, 0.0], [[2.0, 0.0], [0.0, 2.0]], [[1.0, 0.0], [0.0, 1.0]]).tolist() == [
        1.0,
        -1.0,
    ]


def test_measure_word_cosines():
    assert (
        repr(measure.word_cosines([1.0, 0.0], [[0.0, 1.0], [3.0, 0.0]], [[-1.0, 1.0]]).round(6).tolist())
        == "[[1.0], [nan]]"
    )


def test_search_caption_ranks():
    gallery = np.array([[[1.0, 0.0]], [[0.0, 1.0]], [[0.6, 0.8]]])
    assert search.caption_ranks([[1.0, 0.0], [1.0, 0.0]], [0, 1], [[1.0], [0.0]], [gallery]).ravel().tolist() == [
        1.0,
        3.0,
    ]


def test_search_of_bounded():
    assert [round(end.item(), 3) for end in search.of_bounded(np.zeros((50, 1)), -1.0, 1.0, seed=0)] == [-0.071, 0.071]


def test_section_against():
    assert section_module.against({"labels": {"count": 3}, "templates": ["a photo of a {}."]}, None)["labels"] == 3


def test_section_pointing():
    assert (
        section_module.pointing({"rank": 3, "own_low": 0.1, "own_high": 0.2, "high": -0.1}),
        section_module.pointing({"own_low": None}),
    ) == ("no", "–")


def test_section_verdict():
    all = {"augmentation": "all", "n": 50, "rank": None, "own": 0.2, "own_low": 0.18, "own_high": 0.22}
    all |= {"others": 0.05, "difference": 0.15, "p_value": 0.0001, "significant": None}
    rows = [all | {"augmentation": name, "rank": 1, "significant": True, "p_value": None} for name in "abc"]
    assert str(section_module.verdict(pl.DataFrame([*rows, all]))).split() == [
        "The",
        "mean",
        "cosine",
        "of",
        "a",
        "shift",
        "is",
        "0.200",
        "with",
        "its",
        "own",
        "phrase",
        "and",
        "0.050",
        "with",
        "the",
        "other",
        "phrases:",
        "a",
        "lead",
        "of",
        "0.150.",
        "Of",
        "10,000",
        "random",
        "permutations",
        "of",
        "the",
        "phrases,",
        "0",
        "gave",
        "a",
        "lead",
        "as",
        "large",
        "or",
        "larger",
        "(p",
        "=",
        "0.0001).",
        "The",
        "95",
        "%",
        "interval",
        "of",
        "the",
        "first",
        "cosine",
        "is",
        "0.180",
        "to",
        "0.220.",
        "For",
        "3",
        "of",
        "3",
        "augmentations,",
        "the",
        "own",
        "phrase",
        "is",
        "the",
        "nearest,",
        "and",
        "cosine",
        "and",
        "lead",
        "are",
        "significantly",
        "above",
        "0.",
        "So",
        "the",
        "shifts",
        "point",
        "to",
        "their",
        "phrases.",
    ]


def test_section_searched():
    row = {"augmentation": "blur", "metric": "recall@1", "n": 50, "before": 0.5, "value": 0.2}
    row |= {"before_low": 0.36, "before_high": 0.64, "ci_low": 0.1, "ci_high": 0.34}
    row |= {"difference": -0.3, "low": -0.44, "high": -0.16}
    assert str(section_module.searched(pl.DataFrame([row, row | {"metric": "mrr"}]), 300)["found"]).split() == [
        "Among",
        "300",
        "images,",
        "a",
        "caption",
        "ranks",
        "its",
        "own",
        "image",
        "first",
        "in",
        "50",
        "%",
        "of",
        "cases",
        "(95",
        "%",
        "interval",
        "36",
        "to",
        "64",
        "%)",
        "for",
        "the",
        "originals,",
        "and",
        "in",
        "20",
        "%",
        "(10",
        "to",
        "34",
        "%)",
        "under",
        "blur,",
        "the",
        "lowest",
        "rate.",
        "The",
        "rate",
        "falls",
        "significantly",
        "under",
        "1",
        "of",
        "1",
        "augmentations,",
        "not",
        "corrected",
        "for",
        "their",
        "number.",
    ]


def test_section_classified():
    row = {"augmentation": "blur", "agreement": 0.9, "ci_low": None, "ci_high": None}
    row |= {"margin_before": 0.021, "margin": 0.012, "margin_low": 0.01, "margin_high": 0.014}
    assert section_module.classified(pl.DataFrame([row]))["classes"][0]["margin"] == ("0.0120", "0.0100 to 0.0140")


def test_section_percent():
    assert (section_module.percent(0.5), section_module.percent(0.364, 0.998)) == ("50 %", "36 to 99.8 %")


def test_tables_matrix():
    table = pl.DataFrame({"augmentation": ["a", "a"], "word": ["a", "b"], "mean": [0.5, None]})
    assert repr(tables.matrix(table)[2].tolist()) == "[[0.5, nan]]"


def test_tables_tested():
    table = pl.DataFrame({"augmentation": ["a", "b"], "word": ["a", "a"], "mean": [0.5, 0.1]})
    assert tables.tested(table)[0] == ["a"]


def test_tables_word_test():
    pairs = [(a, b, float(a == b)) for a in "abc" for b in "abc"]
    table = pl.DataFrame(pairs, schema=["augmentation", "word", "mean"], orient="row")
    assert tables.word_test(table, None, seed=0).row(-1, named=True)["difference"] == 1.0
