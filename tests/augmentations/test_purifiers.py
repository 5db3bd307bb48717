"""Purifiers against other implementations, and their names."""

import io
import pickle
import re

import numpy as np
import pytest
import scipy.ndimage
from PIL import Image
from skimage import data

from embedshift.augmentations import Purified, Suite, Variant, rebuild_suite, with_purified
from embedshift.augmentations.variant import PURIFIERS, check_purifiers, purifier
from embedshift.errors import UsageError

PHOTO = data.astronaut()[40:137, 180:300]


def by_pillow(quality):
    buffer = io.BytesIO()
    Image.fromarray(PHOTO).save(buffer, format="JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def by_scipy_median(side):
    return np.stack([scipy.ndimage.median_filter(PHOTO[..., c], side, mode="nearest") for c in range(3)], axis=-1)


def by_scipy_blur(sigma):
    planes = [scipy.ndimage.gaussian_filter(PHOTO[..., c].astype(float), sigma, mode="mirror") for c in range(3)]
    return np.stack(planes, axis=-1)


def by_two_matrices(scale):
    """Bilinear resampling written as matrices: between the two nearest values, whatever the scale."""

    def matrix(inside, outside):
        centres = (np.arange(outside)[:, None] + 0.5) * inside / outside
        weights = np.maximum(0, 1 - np.abs(np.arange(inside) + 0.5 - np.clip(centres, 0.5, inside - 0.5)))
        return weights / weights.sum(axis=1, keepdims=True)

    found = PHOTO.astype(float)
    for axis in (1, 0):
        small = round(PHOTO.shape[axis] * scale)
        there = np.moveaxis(np.tensordot(matrix(PHOTO.shape[axis], small), np.moveaxis(found, axis, 0), 1), 0, axis)
        found = np.moveaxis(np.tensordot(matrix(small, PHOTO.shape[axis]), np.moveaxis(there, axis, 0), 1), 0, axis)
    return found


def by_search(count):
    levels = np.rint(np.linspace(0, 255, 2**count))
    exact = np.linspace(0, 255, 2**count)
    return levels[np.abs(PHOTO[..., None] - exact).argmin(axis=-1)]


CASES = [
    ("jpeg:50", by_pillow(50), 0),
    ("median:3", by_scipy_median(3), 0),
    ("median:5", by_scipy_median(5), 0),
    ("blur:1", by_scipy_blur(1), 2),
    ("blur:2.5", by_scipy_blur(2.5), 3),
    ("resize:0.75", by_two_matrices(0.75), 2),
    ("resize:0.3", by_two_matrices(0.3), 2),
    ("bits:4", by_search(4), 0),
    ("bits:1", by_search(1), 0),
]


@pytest.mark.parametrize(("name", "expected", "levels"), CASES, ids=[case[0] for case in CASES])
def test_a_purifier_is_what_it_says(name, expected, levels):
    before = PHOTO.copy()
    found = purifier(name)(PHOTO)
    assert found.dtype == np.uint8
    assert found.shape == PHOTO.shape
    assert np.abs(found.astype(float) - expected).max() <= levels
    assert not np.array_equal(found, PHOTO)
    assert np.array_equal(PHOTO, before)
    assert np.array_equal(pickle.loads(pickle.dumps(purifier(name)))(PHOTO), found)


WRONG = ["jpeg", "jpeg:0", "jpeg:101", "jpeg:50.5", "median:4", "median:7", "blur:0", "blur:-1", "resize:1", "bits:8"]


@pytest.mark.parametrize("name", [*WRONG, "bits:1e1", "jpeg: 50", "gif:1", "", ":", "blur:nan", "jpeg:50:2", "jpeg:٥٠"])
def test_a_wrong_name_is_refused_in_one_line(name):
    with pytest.raises(UsageError) as refused:
        purifier(name)
    assert "such as" in str(refused.value)
    assert repr(name) in str(refused.value)


@pytest.mark.parametrize(
    ("name", "right"), [("jpeg:050", "jpeg:50"), ("blur:1.0", "blur:1"), ("resize:.75", "resize:0.75")]
)
def test_a_purifier_has_one_name(name, right):
    with pytest.raises(UsageError, match=f"^purifier '{re.escape(name)}': write it {right}$"):
        purifier(name)


def test_a_name_given_twice_is_refused():
    check_purifiers(["jpeg:50", "jpeg:75"])
    with pytest.raises(UsageError, match="'jpeg:50' is given twice"):
        check_purifiers(["jpeg:50", "bits:4", "jpeg:50"])
    assert set(PURIFIERS) == {"jpeg", "median", "blur", "resize", "bits"}


def test_only_what_is_made_of_the_image_itself_is_drawn_again():
    suite = Suite([*with_purified([Variant("q50", bytes_hash="5f")], ["bits:4"])])
    described = suite.describe()
    assert list(described) == ["q50", "original+bits:4", "q50+bits:4"]
    again = rebuild_suite(described)
    assert again is not None
    assert again.names == ("original+bits:4",)
    view = again["original+bits:4"].draw(PHOTO, 0)
    np.testing.assert_array_equal(view, purifier("bits:4")(PHOTO))
    hostile = described["original+bits:4"] | {"purifier": "__import__('os')"}
    assert rebuild_suite({"original+bits:4": hostile}) is None
    assert rebuild_suite({"original+bits:4": described["original+bits:4"] | {"version": 2}}) is None


def test_what_is_made_of_an_image_without_a_variant_is_counted_so():
    _, clean, purified = with_purified([Variant("q50", bytes_hash="5f", missing=2)], ["jpeg:50"])
    assert isinstance(purified, Purified)
    assert "missing" not in clean.describe()
    assert purified.describe()["missing"] == 2
