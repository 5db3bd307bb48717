"""Small cases worked by hand."""

from embedshift.study import card


def test_card_fenced():
    assert card.fenced("a ``` b", "sh").split() == ["````sh", "a", "```", "b", "````"]
