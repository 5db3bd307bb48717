"""Every hostile file is a failure with words or a right measurement, by itself and in a study; memory has a bound."""

import dataclasses
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import embedshift
from embedshift import EmbedshiftError
from embedshift.sources import open_source
from embedshift.sources.base import storable
from embedshift.sources.images import ToInput, decode
from support import hostile, mean_colour, memory

pytestmark = pytest.mark.slow


class Brightness(mean_colour.MeanColour):
    """Mean colours, which are not zero where a picture is black."""

    def __call__(self, views):
        found = super().__call__(views)
        return dataclasses.replace(found, embedding=found.embedding + 1)


@pytest.fixture(scope="module")
def kinds():
    return hostile.kinds()


@pytest.fixture(scope="module")
def folder(kinds, tmp_path_factory):
    root = tmp_path_factory.mktemp("hostile") / "photos"
    hostile.write(root, kinds)
    return root


def wrong(kind, read):
    """What is wrong about how a kind is read; None where it is as it says."""
    try:
        found, words = decode(read()), None
    except (EmbedshiftError, OSError) as error:
        found, words = None, str(error)
    if kind.words is not None:
        return None if words and re.search(kind.words, words) and "\n" not in words else words or "it is measured"
    if kind.pixels is None:  # altered in a way that nothing tells
        return None if words or (found.dtype == np.uint8 and found.ndim == 3) else "neither"
    if words is not None or found.shape != kind.pixels.shape:
        return words or found.shape
    off = np.abs(found.astype(int) - kind.pixels).mean()
    return None if off <= kind.off else off


def test_there_are_enough_kinds_of_each_outcome(kinds):
    assert len(kinds) >= 150
    assert sum(kind.words is not None for kind in kinds) >= 60
    assert sum(kind.pixels is not None for kind in kinds) >= 60
    assert sum(kind.words is None and kind.pixels is None for kind in kinds) <= 20


def test_every_kind_becomes_what_it_says(kinds, folder):
    source = open_source([str(folder)])
    samples = {sample.image_id.encode("utf-8", "surrogateescape"): sample for sample in source.samples}
    assert samples.keys() == {kind.file_name for kind in kinds}
    results = {kind.name: wrong(kind, lambda kind=kind: source.read(samples[kind.file_name])) for kind in kinds}
    assert {name: words for name, words in results.items() if words is not None} == {}


def test_a_study_of_all_of_them_measures_or_lists_each(kinds, folder, tmp_path):
    study = embedshift.run(folder, out=tmp_path / "study", model=Brightness(), workers=2, shard_size=16)
    rows = study.rows().collect()
    measured = set(rows["image_id"])
    failed = {image_id: (stage, words) for image_id, stage, words, _ in study.failures().rows()}
    stored = {storable(kind.file_name.decode("utf-8", "surrogateescape")): kind for kind in kinds}
    assert measured | failed.keys() == stored.keys()
    assert measured & failed.keys() == set()
    for image_id, kind in stored.items():
        if kind.words is not None:
            assert failed[image_id][0] in ("read", "decode"), image_id
            assert re.search(kind.words, failed[image_id][1]), image_id
        elif kind.pixels is not None:
            assert image_id in measured, failed[image_id]
    originals = rows.filter(rows["view"] == "original")
    vectors = dict(zip(originals["image_id"], originals["embedding"], strict=True))
    for image_id, kind in stored.items():
        if kind.pixels is not None and kind.off == 0:
            expected = Brightness()(ToInput(32)(np.ascontiguousarray(kind.pixels))[None]).embedding[0]
            np.testing.assert_allclose(np.asarray(vectors[image_id]), expected, rtol=1e-6, err_msg=image_id)


NEED_MOST = ("png 16-bit grey", "jpeg progressive cmyk", "webp lossless")
NEED_MUCH = ("png rgba", "png of noise in one chunk", "jpeg progressive", "jpeg that ends in grey")


@pytest.mark.parametrize("kinds", [NEED_MOST, pytest.param(NEED_MUCH, marks=pytest.mark.matrix)])
def test_the_memory_of_a_decoder_stays_below_its_bound(kinds):
    """9 megapixels of the kinds that need most, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "support.memory", "3000", *kinds],
        cwd=memory.TESTS, env=os.environ | memory.GIVES_BACK, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    assert tuple(found) == kinds
    assert all(float(peak) > 3 * 9e6 for peak in found.values()), "what is returned is seen"
    assert {name: peak for name, peak in found.items() if float(peak) > memory.bound(name, 3000)} == {}
