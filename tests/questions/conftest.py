"""A study with texts, its images and its encoder: a module that needs others has its own of these names."""

import pytest

from support import studies
from support.captioned import LABELS


@pytest.fixture(scope="module")
def photos():
    return studies.captioned_pictures()


@pytest.fixture(scope="module")
def clip():
    return str(studies.checkpoint("reader"))


@pytest.fixture(scope="module")
def study(photos):
    model = studies.checkpoint("reader")
    return studies.measured(photos, model, shard_size=3, draws=2, text=True, labels=list(LABELS))
