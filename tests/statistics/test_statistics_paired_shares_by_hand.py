"""Small cases worked by hand."""

from embedshift.statistics import paired_shares


def test_difference_of_shares():
    assert (
        [round(end, 4) for end in paired_shares.difference_of_shares(0, 0, 200)],
        paired_shares.difference_of_shares(5, 0, 5)[1],
    ) == ([-0.0188, 0.0188], 1.0)
