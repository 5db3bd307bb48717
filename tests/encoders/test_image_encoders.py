"""Encoders of images: objects, functions and `python:module:function`, and what they may return and raise."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

import embedshift
from embedshift import EmbedshiftError, Transient
from embedshift.encoders import images as module
from embedshift.encoders.base import Encoder, ReadsText
from embedshift.encoders.images import ImageEncoder
from support.refusals import refused

RNG = np.random.default_rng(0)
FILES = [RNG.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((9, 5), (4, 12))]


def mean_colour(images):
    assert all(isinstance(image, Image.Image) and image.mode == "RGB" for image in images)
    return np.stack([np.asarray(image, np.float64).mean(axis=(0, 1)) for image in images])


class MeanColourOfImages:
    name, version = "mean colour", "7"

    def encode_images(self, images):
        return torch.tensor(mean_colour(images))


def test_an_object_and_a_function_encode_views_of_any_size():
    given = MeanColourOfImages()
    assert isinstance(given, ImageEncoder)
    assert not isinstance(given, Encoder)
    expected = [file.mean(axis=(0, 1)) for file in FILES]
    function = embedshift.image_encoder(mean_colour, name="mean colour", version="7", size=32)
    for encoder in (module.ViewEncoder(given), function):
        assert isinstance(encoder, Encoder)
        assert isinstance(encoder, ImageEncoder)
        assert not isinstance(encoder, ReadsText)
        np.testing.assert_allclose(encoder(FILES).embedding, expected, rtol=1e-6)
        squares = np.stack([FILES[0][:4, :4], FILES[1][:4, :4]])
        np.testing.assert_allclose(encoder(squares).embedding, squares.mean(axis=(1, 2)), rtol=1e-6)
        assert (encoder.dim, encoder.weights_hash) == (3, "mean colour 7")
    assert function.size == 32
    reads = embedshift.image_encoder(mean_colour, name="a", version="1", encode_text=lambda texts: np.ones((2, 3)))
    assert isinstance(reads, ReadsText)
    assert reads.encode_text(["a", "b"]).shape == (2, 3)


def test_what_cannot_encode_an_image_is_refused():
    def broken(images):
        raise ValueError("no such thing")

    for function, words in (
        (broken, "cannot encode an image: ValueError: no such thing"),
        (lambda images: np.ones(3), "gives (3,) for one image"),
        (lambda images: np.ones((2, 3)), "gives (2, 3) for one image"),
        (lambda images: np.zeros((len(images), 0)), "gives (1, 0) for one image; it must give"),
    ):
        with pytest.raises(EmbedshiftError) as caught:
            embedshift.image_encoder(function, name="ours", version="1")
        assert words in str(caught.value)


def test_a_transient_error_is_tried_again_and_another_is_not(monkeypatch):
    waited, calls, errors = [], [], []
    monkeypatch.setattr(module.time, "sleep", waited.append)

    def busy(images):
        calls.append(len(images))
        if errors:
            raise errors.pop()
        return mean_colour(images)

    encoder = embedshift.image_encoder(busy, name="ours", version="1")
    for given, count, pauses in (([Transient("busy")] * 2, 3, [1, 4]), ([Transient("busy")], 2, [1])):
        calls.clear(), waited.clear(), errors.extend(given)
        assert len(encoder(FILES)) == 2
        assert (calls, waited) == ([2] * count, pauses)
    errors.extend([Transient("busy")] * 3)
    with pytest.raises(Transient, match="busy"):
        encoder(FILES)
    calls.clear(), errors.append(ValueError("broken"))
    with pytest.raises(ValueError, match="broken"):
        encoder(FILES)
    assert calls == [2]


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A module in the folder in which the command runs."""
    (tmp_path / "own_encoder.py").write_text(
        "import numpy\n"
        "class Own:\n"
        "    name, version = 'own', '3'\n"
        "    def encode_images(self, images): return numpy.ones((len(images), 4))\n"
        "def encode(images): return numpy.full((len(images), 4), 2)\n"
        "def versioned(images): return numpy.full((len(images), 4), 2)\n"
        "versioned.version = 'v9'\n"
        "own, number = Own(), 3\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    sys.modules.pop("own_encoder", None)


def test_a_function_by_the_name_of_its_module(own_module):
    encoder = embedshift.load_encoder("python:own_encoder:encode", size=48)
    assert (encoder.name, encoder.size, encoder.dim) == ("python:own_encoder:encode", 48, 4)
    assert encoder(FILES).embedding.tolist() == [[2] * 4] * 2
    versions = {
        embedshift.load_encoder(f"python:own_encoder:{name}").version: name for name in ("encode", "versioned", "own")
    }
    assert {"v9", "3"} < set(versions)
    assert len(versions) == 3
    assert embedshift.load_encoder("python:own_encoder:own").name == "own"


def test_a_name_that_is_no_function_is_refused(own_module):
    refused("python:own_encoder", "give python:package.module:function", code=2)
    refused("python:no_such_module:encode", "cannot be imported", "no_such_module", code=2)
    refused("python:own_encoder:nothing", "cannot be imported", "nothing", code=2)
    refused("python:own_encoder:number", "int, not a function", code=2)
    refused("python:own_encoder:encode", "`embedding`", code=2, embedding="cls")
    refused("python:own_encoder:encode", "`precision`", code=2, precision="float16")
