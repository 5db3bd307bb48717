"""Drawn damage of a valid file in every format: the right pixels or one line, and never another exception."""

import resource
import sys

import numpy as np
import pytest

from embedshift import EmbedshiftError
from embedshift.sources.images import decode
from support import corpus, fuzz

pytestmark = pytest.mark.slow
BASES = corpus.bases()


@pytest.mark.parametrize(
    ("seed", "each"), [(0, 8), *(pytest.param(seed, 40, marks=pytest.mark.matrix) for seed in (1, 2))]
)
@pytest.mark.filterwarnings("error")
def test_a_damaged_file_shows_what_another_decoder_shows_or_is_refused(seed, each):
    before, outcomes = peak(), {}
    for name, data in BASES.items():
        whole = decode(data)
        for number, (how, damaged) in enumerate(corpus.drawn(data, seed, each)):
            with fuzz.within(60):
                outcomes[f"{name}, {how}, {number}"] = corpus.outcome(how, name, damaged, whole, decode)
    assert {name: words for name, words in outcomes.items() if words.startswith("WRONG")} == {}
    found = [*outcomes.values()]
    assert min(found.count("refused"), found.count("as OpenCV shows it")) > len(found) // 5
    assert all(name.startswith("gif") for name, words in outcomes.items() if words == "not told")
    assert found.count("not told") < len(found) // 40
    assert peak() - before < 1e9


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.parametrize("name", [name for name in BASES if name.startswith("png")])
@pytest.mark.filterwarnings("ignore")
def test_every_bit_of_a_png_is_checked(name):
    """Its checksums find what makes the picture: nothing else than the very pixels is measured."""
    rng, data = np.random.default_rng(3), BASES[name]
    for at in rng.integers(8, len(data), 60).tolist():
        flipped = data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :]
        try:
            found = decode(flipped)
        except EmbedshiftError:
            continue
        np.testing.assert_array_equal(found, decode(data))
