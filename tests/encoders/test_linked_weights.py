"""Weights behind a link: those of the file that it names, as the Hub's own cache has them, or one line."""

import os

import numpy as np
import pytest

from embedshift import load_encoder
from support import models
from support.refusals import refused


@pytest.fixture
def folder(tmp_path):
    return models.make("clip_vision", tmp_path / "clip")


@pytest.fixture
def weights(folder, tmp_path):
    """The weights outside the folder."""
    return (folder / "model.safetensors").rename(tmp_path / "elsewhere.safetensors")


def test_a_link_to_elsewhere_gives_the_same_encoder(folder, weights, tmp_path):
    (folder / "model.safetensors").symlink_to(weights)
    views = np.random.default_rng(0).integers(0, 256, (2, models.SIZE, models.SIZE, 3), np.uint8)
    linked = load_encoder(str(folder))
    (folder / "model.safetensors").unlink()
    os.link(weights, folder / "model.safetensors")
    own = load_encoder(str(folder))
    assert linked.weights_hash == own.weights_hash
    np.testing.assert_array_equal(linked(views).embedding, own(views).embedding)


@pytest.mark.parametrize("target", ["gone.safetensors", "model.safetensors", ".", "secret.txt"])
def test_a_link_to_what_has_no_weights_is_one_line_without_its_content(target, folder, weights, tmp_path):
    (folder / "secret.txt").write_text("token=123456789")
    (folder / "model.safetensors").symlink_to(target)
    assert "123456789" not in refused(folder, str(folder))
