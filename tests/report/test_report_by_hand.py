"""Small cases worked by hand."""

import numpy as np

from embedshift import registry
from embedshift.report import numbers, section
from embedshift.report.own_sections import glossary


def test_section_shrink():
    assert section.shrink(np.zeros((40, 80, 3), np.uint8), 20).shape == (10, 20, 3)


def test_section_webp():
    assert section.webp(np.zeros((8, 8, 3), np.uint8), 80)[8:12] == b"WEBP"


def test_section_heat():
    assert section.heat(np.eye(2, dtype=np.float32))[..., 3].tolist() == [[230, 0], [0, 230]]


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
    assert (numbers.metric_decimals("cosine_similarity", 0.99), numbers.metric_decimals("l2_distance", 42.5)) == (3, 2)


def test_numbers_count():
    assert (numbers.count(1, "image"), numbers.count(13312, "image")) == ("1 image", "13,312 images")


def test_numbers_listed():
    assert numbers.listed(["a", "b", "c"]) == "a, b and c"


def test_numbers_shorten():
    assert numbers.shorten("abcdef", 4) == "abc…"


def test_glossary_of_the_sections_that_the_page_has():
    by_name = {question.name: question for question in registry.questions()}
    chosen = [by_name[name] for name in ("embedding", "search", "worst_case")]
    whole = glossary(chosen, [question.order for question in chosen]).content
    content = glossary(chosen, [by_name["search"].order]).content
    assert {term for term, _ in whole["terms"]} - {term for term, _ in content["terms"]} >= {"budget", "purifier"}
    assert {"cosine similarity", "recall@k"} <= {term for term, _ in content["terms"]}, (
        "of embedding, without a section"
    )
    assert "The worst case within a budget" in whole["corrected"].keys() - content["corrected"].keys()
