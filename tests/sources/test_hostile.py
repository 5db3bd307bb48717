"""Every file of the corpus fails with words or is measured rightly, by itself and in a study; memory has a bound."""

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
from embedshift.sources.images import ToInput, decode, upright_size
from support import corpus, fuzz, mean_colour, memory

pytestmark = pytest.mark.slow


class Brightness(mean_colour.MeanColour):
    """Mean colours, which are not zero where a picture is black."""

    def __call__(self, views):
        found = super().__call__(views)
        return dataclasses.replace(found, embedding=found.embedding + 1)


@pytest.fixture(scope="module")
def kinds():
    return corpus.kinds()


@pytest.fixture(scope="module")
def folder(kinds, tmp_path_factory):
    root = tmp_path_factory.mktemp("hostile") / "photos"
    corpus.write(root, kinds)
    return root


def test_there_are_enough_kinds_of_each_outcome(kinds):
    assert len(kinds) >= 220
    assert sum(bool(kind.words) for kind in kinds) >= 60
    assert sum(kind.pixels is not None for kind in kinds) >= 150


def test_every_kind_becomes_what_it_says(kinds, folder):
    source = open_source([str(folder)])
    samples = {sample.image_id.encode("utf-8", "surrogateescape"): sample for sample in source.samples}
    assert samples.keys() == {kind.file_name for kind in kinds}
    with fuzz.within(300):
        outcomes = {kind.name: wrong(kind, source.read, samples[kind.file_name]) for kind in kinds}
    assert {name: words for name, words in outcomes.items() if words} == {}


def wrong(kind, read, sample):
    """What is wrong about how a kind is read; "" where it is as it says."""
    try:
        data = read(sample)
        found, size = decode(data), upright_size(data)
    except (EmbedshiftError, OSError) as error:
        words = str(error)
        return "" if kind.words and re.search(kind.words, words) and "\n" not in words else words
    # A size that is not found in the header is not compared with that of a variant.
    is_right = not kind.words and corpus.is_near(found, kind) and size in (None, found.shape[1::-1])
    return "" if is_right else f"{found.dtype} {found.shape}, by its header {size}"


def test_a_study_of_all_of_them_measures_or_lists_each(kinds, folder, tmp_path):
    settings = {"families": ["noise"], "workers": 2, "shard_size": 16}
    study = embedshift.run(folder, out=tmp_path / "study", model=Brightness(), **settings)
    rows = study.rows().collect()
    measured = set(rows["image_id"])
    failed = {image_id: (stage, words) for image_id, stage, words, _ in study.failures().rows()}
    stored = {storable(kind.file_name.decode("utf-8", "surrogateescape")): kind for kind in kinds}
    assert measured == {image_id for image_id, kind in stored.items() if not kind.words}
    assert failed.keys() == stored.keys() - measured
    for image_id, (stage, words) in failed.items():
        assert stage in ("read", "decode"), image_id
        assert re.search(stored[image_id].words, words), image_id
    originals = rows.filter(rows["view"] == "original")
    for image_id, vector in zip(originals["image_id"], originals["embedding"], strict=True):
        if stored[image_id].off == 0:
            expected = Brightness()(ToInput(32)(np.ascontiguousarray(stored[image_id].pixels))[None]).embedding[0]
            np.testing.assert_allclose(np.asarray(vector), expected, rtol=1e-6, err_msg=image_id)


NEED_MOST = ("png 16-bit grey", "jpeg progressive cmyk", "webp lossless")
NEED_MUCH = ("png rgba", "png of noise in one chunk", "jpeg progressive", "jpeg that ends in grey")


@pytest.mark.parametrize("names", [NEED_MOST, pytest.param(NEED_MUCH, marks=pytest.mark.matrix)])
def test_the_memory_of_a_decoder_stays_below_its_bound(names):
    """9 megapixels of the kinds that need most, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "support.memory", "3000", *names],
        cwd=memory.TESTS, env=os.environ | memory.GIVES_BACK, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    assert tuple(found) == names
    assert all(float(peak) > 3 * 9e6 for peak in found.values()), "what is returned is seen"
    assert {name: peak for name, peak in found.items() if float(peak) > memory.bound(name, 3000)} == {}
