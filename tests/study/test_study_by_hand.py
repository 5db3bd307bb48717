"""Small cases worked by hand."""

from pathlib import Path

import numpy as np
import polars as pl

from embedshift.study import checks, figures, markdown, numbers


def test_checks_other_images():
    assert checks._other_images({"a.jpg", "b.jpg"}, {"a.jpg"}, ("in x", "in y")) == ["images: 1 only in x (b.jpg)"]


def test_checks_distinct():
    assert checks.distinct(["clip", "clip", "vit"], [Path("/x/a"), Path("/x/b"), Path("/x/c")]) == [
        "clip, a",
        "clip, b",
        "vit",
    ]
    assert checks.distinct(["clip", "clip"], [Path("/x/a"), Path("/y/a")]) == ["clip, x/a", "clip, y/a"]


def test_figures_colours():
    assert list(figures.colours(["a", "b"]).values()) == ["#b4b4b4", "#00224e"]


def test_markdown_escaped():
    assert markdown.escaped("a|b <c> *d*") == "a\\|b &lt;c> \\*d\\*"
    assert markdown.escaped("see https://x.org or www.x.org") == "see https\\://x.org or www\\.x.org"


def test_markdown_table():
    assert str(markdown.table(["name", "value"], [["blur", "0.1"]])).split() == [
        "|",
        "name",
        "|",
        "value",
        "|",
        "|",
        "---",
        "|",
        "---",
        "|",
        "|",
        "blur",
        "|",
        "0.1",
        "|",
    ]


def test_markdown_printable():
    assert markdown.printable("a\x1bb") == "a?b"


def test_numbers_comparable():
    assert numbers.comparable(["cosine_similarity", "l2_distance"], ["w", "w", "v"]).tolist() == [
        [True, True],
        [True, True],
        [True, False],
    ]


def test_numbers_paired():
    own = np.linspace(0.5, 0.9, 20)[None, :, None, None]
    _, [[row]] = numbers.paired(np.concatenate([own, own - 0.1]), "m", ["a", "b"], np.ones(2, bool), seed=0)
    assert (round(row["difference"], 3), row["significant"]) == (-0.1, True)


def test_numbers_spearman():
    assert round(numbers.spearman(pl.Series([1.0, 2.0, 9.0]), pl.Series([1.0, 3.0, 2.0])), 6) == 0.5
