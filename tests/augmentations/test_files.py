"""Changes of images that are no squares, as files are, and what the encoder sees of them."""

import albumentations as A
import cv2
import numpy as np
import pytest
from PIL import Image

import embedshift
from embedshift.augmentations import load_suite
from embedshift.augmentations import strength as warps
from embedshift.augmentations.augmentation import Augmentation, Chain
from embedshift.augmentations.family import FAMILIES
from embedshift.augmentations.views import Canvas
from embedshift.errors import EmbedshiftError
from embedshift.sources.images import ToInput, reduced
from support.strength import photo

HEIGHT, WIDTH = 64, 96
SHAPE = (HEIGHT, WIDTH)
SQUASH, CROP = ToInput(32), ToInput(32, "crop", 40)


def picture(shape=SHAPE, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)


def rng(seed=4):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("shape", [(31, 47), (8, 8), (1, 50), (50, 1)])
def test_every_change_takes_an_image_of_any_shape(shape):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for name in FAMILIES:
        strongest = FAMILIES[name].augmentations()[-1]
        assert strongest.draw(pixels, 3).shape == pixels.shape
        geometry = strongest.geometry(pixels, 3)
        assert geometry.source is None or geometry.source.shape == (*shape, 2), name
        assert 0 <= geometry.covered(shape) <= 1
        assert np.isfinite(geometry.displacement()) or geometry.covered(shape) == 1
    for each in (*load_suite("paper"), *load_suite("everyday")):
        if each.name != "coarse_dropout" or min(shape) > 16:  # its squares have 16 pixels
            assert each.draw(pixels, 3).shape == pixels.shape
            geometry = each.geometry(pixels, 3)
            assert geometry.source is None or geometry.source.shape == (*shape, 2), each.name


def test_parts_of_a_file_are_fractions_of_its_area():
    for name in ("coarse_dropout", "occlusion"):
        for parameter in FAMILIES[name].levels:
            hidden = FAMILIES[name].at(1, parameter).geometry(picture(), 3).hidden
            assert hidden.mean() == pytest.approx(parameter, abs=0.02 if name == "occlusion" else 1e-4)
            assert (FAMILIES[name].at(1, parameter).draw(picture(), 3)[~hidden] == picture()[~hidden]).all()
    boxes = (
        FAMILIES["pixelate"].at(1, 5).draw(photo("astronaut", 224)[:112], 0)
    )  # 56 boxes along 112 pixels, 112 along 224
    np.testing.assert_array_equal(boxes, boxes[::2, ::2].repeat(2, axis=0).repeat(2, axis=1))
    means = photo("astronaut", 224)[:112].reshape(56, 2, 112, 2, 3).mean(axis=(1, 3))
    assert np.abs(boxes[::2, ::2] - means).max() <= 1  # Pillow rounds rows, then columns


def by_pillow_or_opencv(pixels, to_input):
    if to_input.how == "squash":
        return cv2.resize(pixels, (32, 32), interpolation=cv2.INTER_LINEAR)
    height, width = pixels.shape[:2]
    scaled = (40, int(40 * height / width)) if width < height else (int(40 * width / height), 40)
    left, top = ((length - 32) // 2 for length in scaled)
    return np.asarray(Image.fromarray(pixels).resize(scaled, Image.Resampling.BICUBIC))[
        top : top + 32, left : left + 32
    ]


@pytest.mark.parametrize("to_input", [SQUASH, CROP], ids=lambda way: way.how)
def test_views_are_drawn_on_the_file_and_then_made_input(to_input):
    pixels, suite = picture((150, 100)), load_suite("paper")
    small = np.asarray(Image.fromarray(pixels).resize((64, 96), Image.Resampling.BICUBIC, reducing_gap=3.0))
    canvas = Canvas.of(pixels, to_input, "file", 96)
    np.testing.assert_array_equal(canvas.original, by_pillow_or_opencv(small, to_input))
    views = embedshift.make_views(
        pixels, image_id="a", seed=3, size=32, resize=to_input.how, shortest=40, apply_to="file", longest=96
    )
    for each in suite:
        seed = embedshift.augmentations.views.view_seed(3, "a", each.name, 0)
        np.testing.assert_array_equal(views[each.name], by_pillow_or_opencv(each.draw(small, seed), to_input))
    as_input = embedshift.make_views(pixels, image_id="a", seed=3, size=32, resize=to_input.how, shortest=40)
    assert all((views[name] != as_input[name]).any() for name in ("noise", "blur", "horizontal_flip", "perspective"))


def test_larger_images_alone_are_reduced():
    pixels = picture()
    assert reduced(pixels, 96) is pixels
    assert reduced(pixels, 48).shape == (32, 48, 3)
    assert reduced(picture((5, 400)), 96).shape == (1, 96, 3)


MIXED = Augmentation("mixed", Chain((FAMILIES["rotation"].at(1, 10), FAMILIES["crop"].at(1, 0.7))))
HALF = Augmentation("half", A.Compose([A.CenterCrop(48, 60), A.Resize(30, 40)]))


@pytest.mark.parametrize("to_input", [SQUASH, CROP], ids=lambda way: way.how)
@pytest.mark.parametrize("name", ["shift_scale_rotate", "horizontal_flip", "perspective", "mixed", "half", "crop@3"])
def test_values_of_the_input_move_as_its_pixels(name, to_input):
    known = {each.name: each for each in (*load_suite("paper"), MIXED, HALF, *FAMILIES["crop"].augmentations())}
    for seed in range(3):
        canvas = Canvas(cv2.GaussianBlur(picture(seed=seed), (0, 0), 3), to_input)
        view, shown = canvas.draw(known[name], seed).astype(float), 0
        for channel in range(3):
            moved = canvas.warp(known[name], canvas.original[..., channel].astype(float), seed)
            inside = ~np.isnan(moved)
            shown += inside.mean() / 3
            # What lies up to half a pixel beyond the middle of a file is mirrored, as beyond its rim.
            assert np.quantile(np.abs(moved - view[..., channel])[inside], 0.98) < 8
            assert np.abs(moved - view[..., channel])[inside].mean() < 1.5
        assert shown > 0.3
        assert np.abs(view - canvas.original).mean() > 3, "it would be seen if nothing were moved"


def test_strengths_are_those_of_the_input():
    moved = warps.translation(SHAPE, 0.2, rng(5))[0, 0].astype(float)
    for to_input, pixels in ((SQUASH, (WIDTH / 32, HEIGHT / 32)), (CROP, (WIDTH / 60, HEIGHT / 40))):
        canvas = Canvas(picture(), to_input)
        found, hidden = canvas.moved_and_hidden(FAMILIES["translation"].at(1, 0.2), 5)
        assert found == pytest.approx(np.hypot(*(moved / pixels)) / 32, rel=1e-3)
        across, down = np.abs(moved / pixels)
        assert hidden == pytest.approx(1 - (32 - across) * (32 - down) / 32**2, abs=0.05)
        assert canvas.moved_and_hidden(FAMILIES["jpeg"].at(1, 10), 5) == (0, 0)
        assert canvas.moved_and_hidden(FAMILIES["coarse_dropout"].at(1, 0.4), 5)[1] == pytest.approx(0.4, abs=0.1)
        assert np.isnan(canvas.moved_and_hidden(Augmentation("own", lambda image, rng: image), 5)).all()
        mirrored = canvas.moved_and_hidden(FAMILIES["flip"].augmentations()[0], 5)
        square = Canvas(np.zeros((32, 32, 3), np.uint8)).moved_and_hidden(FAMILIES["flip"].augmentations()[0], 5)
        assert mirrored == pytest.approx(square, abs=1e-3)
    tiny = Canvas(picture((8, 8)), SQUASH).moved_and_hidden(FAMILIES["flip"].augmentations()[0], 5)
    assert tiny == pytest.approx(square, abs=1e-3), "beyond the centres of its outer pixels, too"


def test_a_view_of_a_file_may_have_another_size():
    taller = {"taller": lambda image, rng: np.concatenate([image, image]), "grey": lambda image, rng: image[..., 0]}
    suite, canvas = load_suite(taller), Canvas(picture(), SQUASH)
    np.testing.assert_array_equal(canvas.draw(suite["taller"], 0), SQUASH(np.concatenate([picture(), picture()])))
    with pytest.raises(EmbedshiftError, match=r"returned uint8 \(64, 64, 3\); it must be uint8 \(32, 64, 3\)"):
        Canvas(picture((32, 64))).draw(suite["taller"], 0)
    with pytest.raises(EmbedshiftError, match=r"'grey' returned uint8 \(64, 96\).*on the file, 96 x 64 pixels"):
        canvas.draw(suite["grey"], 0)
