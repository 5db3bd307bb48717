"""Small cases worked by hand."""

from embedshift.statistics import paired_proportions


def test_difference_of_relative_shifts():
    assert (
        [round(end, 4) for end in paired_proportions.difference_of_relative_shifts(0, 0, 200)],
        paired_proportions.difference_of_relative_shifts(5, 0, 5)[1],
    ) == ([-0.0188, 0.0188], 1.0)
