"""Small cases worked by hand."""

from embedshift.study.exports import card


def test_card_fenced():
    assert card.fenced("a ``` b", "sh").split() == ["````sh", "a", "```", "b", "````"]
