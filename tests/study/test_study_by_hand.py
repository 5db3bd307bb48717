"""Small cases worked by hand."""

from embedshift.study import comparison_figures, shown


def test_comparison_figures_colours():
    assert list(comparison_figures.colours(["a", "b"]).values()) == ["#b4b4b4", "#00224e"]


def test_shown_escaped():
    assert shown.escaped("a|b <c> *d*") == "a\\|b &lt;c> \\*d\\*"
    assert shown.escaped("see https://x.org or www.x.org") == "see https\\://x.org or www\\.x.org"


def test_shown_table():
    assert str(shown.markdown_table(["name", "value"], [["blur", "0.1"]])).split() == [
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


def test_shown_printable():
    assert shown.printable("a\x1bb") == "a?b"
