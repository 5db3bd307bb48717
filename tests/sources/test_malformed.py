"""Malformed and odd pictures of every format: the right pixels or one line, in little time and memory."""

import resource
import sys
import time

import pytest

from embedshift import EmbedshiftError
from embedshift.sources.images import decode, upright_size
from support import fuzz, malformed

pytestmark = pytest.mark.slow

SECONDS, BYTES = 5, 1e9


@pytest.fixture(scope="module")
def kinds():
    return malformed.kinds()


def test_there_are_many_in_every_format(kinds):
    formats = [kind.name.split()[0] for kind in kinds]
    least = {"jpeg": 150, "png": 150, "webp": 60, "tiff": 150, "gif": 60, "bmp": 60}
    assert {name: formats.count(name) for name in least if formats.count(name) < least[name]} == {}
    assert {*formats} == {*least}
    is_open = [kind.name for kind in kinds if kind.pixels is None and kind.words is None]
    assert len(is_open) <= len(kinds) // 15


@pytest.mark.filterwarnings("error")
def test_each_is_measured_as_it_is_or_refused_in_a_line(kinds):
    before = peak()
    wrong, slow = {}, {}
    for kind in kinds:
        start = time.process_time()
        with fuzz.within(60):
            outcome, words = malformed.outcome(kind, decode)
        if time.process_time() - start > SECONDS:
            slow[kind.name] = time.process_time() - start
        if outcome == "WRONG":
            wrong[kind.name] = words
    assert wrong == {}
    assert slow == {}
    assert peak() - before < BYTES


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.filterwarnings("ignore")
def test_the_size_in_the_header_is_that_of_the_pixels(kinds):
    """By which variants are compared with their originals: a wrong one calls them stretched."""
    for kind in kinds:
        size = upright_size(kind.data)
        try:
            shape = decode(kind.data).shape
        except EmbedshiftError:
            continue
        assert size in (None, shape[1::-1]), kind.name
