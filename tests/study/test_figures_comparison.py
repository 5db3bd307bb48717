"""Figures of several studies: nothing overlaps, whatever the names and however many."""

import pytest

import embedshift
from embedshift.augmentations.paper import PAPER
from support.comparing import moved, variant
from support.matrix import first_only
from support.overlap import overlaps
from support.report_fixtures import LONG
from support.synthetic import make_study

pytestmark = pytest.mark.slow


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("number", "suite", "by"),
    first_only([(2, list(PAPER), 1e-5), (4, list(PAPER), 0.1), (4, LONG, 1e-5), (2, LONG, 0.1), (2, ["noise"], 0.1)]),
    ids=["2-nine", "4-nine", "4-twenty", "2-twenty", "2-one"],
)
def test_no_words_overlap(tmp_path, by, suite, number):
    first = make_study(tmp_path / "a", 12, suite, encoder="someone/with_a-long_name-$of-the-encoder-" * 2)
    others = [
        variant(first, tmp_path / str(k), moved(by * k, k, 0.2 * by), encoder={"name": f"other_{k}"})
        for k in range(1, number)
    ]
    found = embedshift.compare([first, *others])
    for name in ("ratios", "means", "differences"):
        assert overlaps(found.figure(name)) == []
