"""The suite `copies`: each change against a slow version by SciPy or by hand, with the recorded numbers."""

import numpy as np
import pytest
import scipy.ndimage
from PIL import Image

from embedshift.augmentations import load_suite
from embedshift.augmentations.copies import COUNT, procedural
from embedshift.config import make_config
from support.strength import photo

NAMES = ("collage", "overlay_30", "mirror_crop_50", "crop_50", "crop_30", "crop_15")
SUITE = load_suite("copies")
# Wider than high, so that width and height cannot be exchanged.
PHOTO = np.ascontiguousarray(photo("china.jpg", 288)[:192])
HEIGHT, WIDTH = PHOTO.shape[:2]


def far(view, wanted):
    """The mean difference of two images, in levels."""
    return float(np.abs(np.asarray(view, float) - np.asarray(wanted, float)).mean())


def test_the_suite_is_for_files_and_its_descriptions_say_how_much_is_kept():
    assert SUITE.names == NAMES
    config = make_config({"augmentations": "copies"})
    assert (config.apply_to, config.resize) == ("file", "own")
    for name in NAMES[2:]:
        side = 100 * np.sqrt(int(name[-2:]) / 100)
        assert f"{name[-2:]} % of the area ({side:.0f} % of each side)" in SUITE[name].description


@pytest.mark.parametrize("name", NAMES[2:])
@pytest.mark.parametrize("seed", [3, 8])
def test_a_part_has_its_fraction_of_the_area_at_the_drawn_place(name, seed):
    numbers = SUITE[name].parameters(seed)
    side = np.sqrt(int(name[-2:]) / 100)
    left, top = numbers["across"] * (1 - side) * WIDTH, numbers["down"] * (1 - side) * HEIGHT
    across = left + (np.arange(WIDTH) + 0.5) * side - 0.5
    down = top + (np.arange(HEIGHT) + 0.5) * side - 0.5
    across = across[::-1] if name.startswith("mirror") else across
    places = np.meshgrid(down, across, indexing="ij")
    layers = np.moveaxis(PHOTO.astype(float), 2, 0)
    wanted = np.dstack([scipy.ndimage.map_coordinates(layer, places, order=1, mode="mirror") for layer in layers])
    assert far(SUITE[name].draw(PHOTO, seed), wanted) < 0.6
    source = SUITE[name].geometry(PHOTO, seed).source
    shown = np.ptp(source[..., 0]) * np.ptp(source[..., 1]) / (WIDTH - 1) / (HEIGHT - 1)
    assert shown == pytest.approx(side**2, rel=1e-3)


def test_a_collage_shows_the_image_in_the_drawn_quarter_beside_three_others():
    corners = {"upper left": (0, 0), "upper right": (0, 1), "lower left": (1, 0), "lower right": (1, 1)}
    small = Image.fromarray(PHOTO).resize((WIDTH // 2, HEIGHT // 2), Image.Resampling.BOX)
    others = [Image.fromarray(procedural(k)).resize(small.size, Image.Resampling.BOX) for k in range(COUNT)]
    seen = set()
    for seed in range(12):
        view, place = SUITE["collage"].draw(PHOTO, seed), SUITE["collage"].parameters(seed)["place"]
        seen.add(place)
        quarters = {
            (row, column): view[row * HEIGHT // 2 :, column * WIDTH // 2 :][: HEIGHT // 2, : WIDTH // 2]
            for row, column in corners.values()
        }
        assert far(quarters.pop(corners[place]), small) < 1
        nearest = [min(range(COUNT), key=lambda k: far(quarter, others[k])) for quarter in quarters.values()]
        assert len(set(nearest)) == 3
        assert all(far(quarter, others[k]) < 3 for quarter, k in zip(quarters.values(), nearest, strict=True))
        geometry = SUITE["collage"].geometry(PHOTO, seed)
        assert geometry.covered(PHOTO.shape[:2]) == pytest.approx(0.75)
    assert seen == set(corners)


def test_an_overlay_covers_three_tenths_with_another_image():
    for seed in range(6):
        view, geometry = SUITE["overlay_30"].draw(PHOTO, seed), SUITE["overlay_30"].geometry(PHOTO, seed)
        assert geometry.hidden.mean() == pytest.approx(0.3, abs=0.01)
        assert (view == PHOTO)[~geometry.hidden].all()
        assert (view != PHOTO).any(axis=2)[geometry.hidden].mean() > 0.95


def test_the_others_are_twelve_different_images_always_the_same():
    means = {procedural(k).mean().round(3) for k in range(COUNT)}
    assert len(means) == COUNT == 12
    procedural.cache_clear()
    assert {procedural(k).mean().round(3) for k in range(COUNT)} == means


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (3, 2), (65, 33)])
def test_images_of_any_size_are_changed(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    for name in NAMES:
        assert SUITE[name].draw(image, 1).shape == image.shape
        assert SUITE[name].geometry(image, 1) is not None
