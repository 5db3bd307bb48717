"""Numbers, words and pictures as a report shows them."""

import numpy as np
import pytest

from embedshift.registry import questions
from embedshift.report import numbers
from embedshift.report.own_sections import glossary
from embedshift.report.section import address, heat, shrink, webp


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        ((numbers.decimals(0.39, 0.65), numbers.decimals(36.3, 48.6), numbers.decimals(0.9932, 0.9956)), (2, 0, 4)),
        ((numbers.interval_decimals(0.2, 0.4), numbers.interval_decimals(0.0004, 0.2)), (2, 4)),
        ((numbers.fixed(0.98765, 3), numbers.fixed(None, 3), numbers.fixed(-1e-05, 3)), ("0.988", "–", "0.000")),
        (numbers.with_interval(0.1234, 0.11, 0.14), ("0.123", "0.110 to 0.140")),
        (numbers.with_interval(0.0123, None, None), ("0.012", "–")),
        (numbers.in_percent(0.975, 0.943, 0.992), ("97.5 %", "94.3 to 99.2 %")),
        (numbers.in_percent(0.5), ("50.0 %", "–")),
        (numbers.metric_decimals("cosine_similarity", 0.99), 3),
        (numbers.metric_decimals("l2_distance", 42.5), 2),
        ((numbers.count(1, "image"), numbers.count(13312, "image")), ("1 image", "13,312 images")),
        (numbers.listed(["a", "b", "c"]), "a, b and c"),
        (numbers.shorten("abcdef", 4), "abc…"),
        (address(b"abc", "image/webp"), "data:image/webp;base64,YWJj"),
        (shrink(np.zeros((40, 80, 3), np.uint8), 20).shape, (10, 20, 3)),
        (webp(np.zeros((8, 8, 3), np.uint8), 80)[8:12], b"WEBP"),
        (heat(np.eye(2, dtype=np.float32))[..., 3].tolist(), [[230, 0], [0, 230]]),
    ],
)
def test_what_a_reader_sees(made, wanted):
    assert made == wanted


def test_glossary_of_the_sections_that_the_page_has():
    chosen = [question for question in questions() if question.name in ("embedding", "search", "worst_case")]
    whole = glossary(chosen, [question.order for question in chosen]).content
    part = glossary(chosen, [question.order for question in chosen if question.name == "search"]).content
    terms, fewer = ({term for term, _ in each["terms"]} for each in (whole, part))
    assert terms - fewer >= {"budget", "purifier"}
    assert fewer >= {"cosine similarity", "recall@k"}, "of embedding, without a section"
    assert "The worst case within a budget" in whole["corrected"].keys() - part["corrected"].keys()
