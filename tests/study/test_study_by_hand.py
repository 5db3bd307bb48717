"""Small cases worked by hand."""

from embedshift.study import comparison_figures, markdown


def test_comparison_figures_colours():
    assert list(comparison_figures.colours(["a", "b"]).values()) == ["#b4b4b4", "#00224e"]


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
