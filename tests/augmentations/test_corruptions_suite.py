"""The suite: names, order, what is refused, strength by severity, and the side of the view."""

import logging

import numpy as np
import pytest

from embedshift import EmbedshiftError
from embedshift.augmentations import load_suite
from embedshift.augmentations.corruptions import STANDARD
from support.corrupted import SEVERITIES, photo, rms, view_of
from support.matrix import first_only
from support.models import pictures

WITHOUT_FROST = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur",
    "snow", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
ALL = (*WITHOUT_FROST, *EXTRA)


@pytest.fixture
def textures(tmp_path):
    return pictures(tmp_path / "textures", 1, width=230, height=240)


def test_the_suite_has_the_fifteen_of_the_standard_with_frost_in_its_place(textures, caplog):
    with caplog.at_level(logging.INFO, "embedshift"):
        names = load_suite("corruptions").names
    assert names == tuple(f"{name}@{severity}" for name in WITHOUT_FROST for severity in SEVERITIES)
    assert [record.message for record in caplog.records if "frost" in record.message] != []
    names = load_suite("corruptions", frost_textures=str(textures)).names
    assert names == tuple(f"{name}@{severity}" for name in STANDARD for severity in SEVERITIES)
    assert names.index("frost@1") == names.index("snow@5") + 1
    assert load_suite("corruptions", families=EXTRA).names[::5] == tuple(f"{name}@1" for name in EXTRA)
    level = load_suite("corruptions", families=["fog"])["fog@4"].level
    assert (level.family, level.number, level.parameter, level.unit, level.zero) == ("fog", 4, 4, "severity", 0)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"families": ["fogg"]}, "unknown family of corruptions 'fogg'; did you mean 'fog'?"),
        ({"families": ["fog"], "levels": 3}, "fog has 5 published levels"),
    ],
)
def test_what_does_not_exist_is_refused_in_one_line(choice, words):
    with pytest.raises(EmbedshiftError) as raised:
        load_suite("corruptions", **choice)
    assert words in str(raised.value)


# Published severities whose RMS falls: elastic's maps change kind, glass takes turns, saturate first takes colour away.
FALLING = {"elastic_transform": [2], "saturate": [2], "glass_blur": [1, 3]}


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_change_rises_with_the_severity_where_the_standard_does(name):
    images = [photo(each) for each in ("astronaut", "chelsea", "coffee", "rocket")]
    found = [
        np.mean([rms(view_of(image, name, severity, seed), image) for seed, image in enumerate(images)])
        for severity in SEVERITIES
    ]
    falling = [severity for severity in SEVERITIES[:-1] if found[severity] < found[severity - 1]]
    assert falling == FALLING.get(name, [])


# How far a view of twice the side, halved, may lie from the view, as a fraction of the corruption's RMS. Not scaled:
# noise has a value for each pixel, JPEG blocks of 8 x 8. Pillow's boxes have whole pixels; 1.67 or 2.52 are coarse.
APART = dict.fromkeys(ALL, 0.08) | {"spatter": 0.25, "pixelate": 0.8}
NOT_SCALED = ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "jpeg_compression")


@pytest.mark.parametrize("severity", first_only([1, 5]))
@pytest.mark.parametrize("name", [name for name in ALL if name not in NOT_SCALED])
def test_a_view_of_twice_the_side_looks_the_same(name, severity):
    image = photo()
    view = view_of(image, name, severity, 1)
    large = view_of(image.repeat(2, axis=0).repeat(2, axis=1), name, severity, 1)
    halved = large.reshape(224, 2, 224, 2, 3).mean(axis=(1, 3))
    assert rms(halved, view) < APART[name] * rms(view, image)
