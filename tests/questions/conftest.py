"""A study with texts, its images and its encoder: a module that needs others has its own of these names."""

import pytest

import embedshift
from support.captioned import LABELS, captioned
from support.tokenizers_made import make_clip


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return captioned(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return str(make_clip(tmp_path_factory.mktemp("models") / "clip"))


@pytest.fixture(scope="module")
def study(photos, clip, tmp_path_factory):
    out = tmp_path_factory.mktemp("text") / "study"
    return embedshift.run(photos, out=out, model=clip, workers=0, shard_size=3, draws=2, text=True, labels=list(LABELS))
