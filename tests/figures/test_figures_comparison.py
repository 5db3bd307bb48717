"""Figures of several studies: nothing overlaps, whatever the names and however many."""

import pytest
from overlap import overlaps
from test_figures_layout import LONG

import embedshift
from comparing import moved, variant
from embedshift.augmentations import PAPER
from synthetic import make_study


@pytest.mark.parametrize("by", [0.1, 1e-5])
@pytest.mark.parametrize("suite", [list(PAPER), LONG, ["noise"]], ids=["nine", "twenty", "one"])
@pytest.mark.parametrize("number", [2, 4])
def test_no_words_overlap(tmp_path, by, suite, number):
    first = make_study(tmp_path / "a", 12, suite, encoder="someone/with_a-long_name-$of-the-encoder-" * 2)
    others = [
        variant(first, tmp_path / str(k), moved(by * k, k, 0.2 * by), encoder={"name": f"other_{k}"})
        for k in range(1, number)
    ]
    found = embedshift.compare([first, *others])
    for name in ("means", "differences"):
        assert overlaps(found.figure(name)) == []
