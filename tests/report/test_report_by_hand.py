"""Small cases worked by hand."""

import numpy as np
import polars as pl

from embedshift.report import facts as facts_module
from embedshift.report import images, numbers, searches, tolerances


def test_facts_figure_note():
    assert facts_module.figure_note(12, 0) == "The files in figures/ contain the same figures for print."


def test_images_shrink():
    assert images.shrink(np.zeros((40, 80, 3), np.uint8), 20).shape == (10, 20, 3)


def test_images_webp():
    assert images.webp(np.zeros((8, 8, 3), np.uint8), 80)[8:12] == b"WEBP"


def test_images_heat():
    assert images.heat(np.eye(2, dtype=np.float32))[..., 3].tolist() == [[230, 0], [0, 230]]


def test_numbers_decimals():
    assert (numbers.decimals(0.39, 0.65), numbers.decimals(36.3, 48.6), numbers.decimals(0.9932, 0.9956)) == (2, 0, 4)


def test_numbers_interval_decimals():
    assert (numbers.interval_decimals(0.2, 0.4), numbers.interval_decimals(0.0004, 0.2)) == (2, 4)


def test_numbers_fixed():
    assert (numbers.fixed(0.98765, 3), numbers.fixed(None, 3), numbers.fixed(-1e-05, 3)) == ("0.988", "–", "0.000")


def test_numbers_with_interval():
    assert (numbers.with_interval(0.1234, 0.11, 0.14), numbers.with_interval(0.0123, None, None)) == (
        ("0.123", "0.110 to 0.140"),
        ("0.012", "–"),
    )


def test_numbers_in_percent():
    assert (numbers.in_percent(0.975, 0.943, 0.992), numbers.in_percent(0.5)) == (
        ("97.5 %", "94.3 to 99.2 %"),
        ("50.0 %", "–"),
    )


def test_numbers_places_of():
    assert (numbers.places_of("cosine_similarity", 0.99), numbers.places_of("l2_distance", 42.5)) == (3, 2)


def test_numbers_count():
    assert (numbers.count(1, "image"), numbers.count(13312, "image")) == ("1 image", "13,312 images")


def test_numbers_listed():
    assert numbers.listed(["a", "b", "c"]) == "a, b and c"


def test_numbers_shorten():
    assert numbers.shorten("abcdef", 4) == "abc…"


def test_searches_sentences():
    rows = {
        "augmentation": ["noise", "blur"],
        "metric": ["recall@1"] * 2,
        "value": [0.1, 0.975],
        "ci_low": [0.06, 0.943],
        "ci_high": [0.15, 0.992],
    }
    for sentence in searches.sentences(pl.DataFrame(rows), "the 200 images"):
        print(sentence.striptags())
    # UNCONVERTED 'A search among the 200 images ranks the original first for 97.5 % [94.3 to 99.2 %] of the views under blur and for 10.0 % [6.0 to 15.0 %] under noise.\nIt misses at most 5 % of the views under blur, and more than half of them under noise.'


def test_tolerances_sentences():
    rows = {
        "family": ["blur", "grey"],
        "unit": ["sigma / side", "mix"],
        "criterion": ["relative shift 0.1"] * 2,
        "value": [0.0065, None],
        "low": [0.005, None],
        "high": [0.008, None],
        "reached": [True, False],
    }
    for sentence in tolerances.sentences(pl.DataFrame(rows), "CLIP"):
        print(sentence.striptags())
    # UNCONVERTED 'The embedding of CLIP reaches a tenth of the distance to another image under blur at 0.65 % of the side [0.50 to 0.80 %].\nIt stays below a tenth at every measured strength under grey.'
