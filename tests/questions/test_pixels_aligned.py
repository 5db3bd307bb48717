"""Patches, edges and detail compared after the original was moved as the view was."""

import numpy as np
import polars as pl
import pytest
from PIL import Image
from scipy.ndimage import map_coordinates

from embedshift.augmentations import load_suite
from embedshift.sources import images
from support import models, reference, studies
from support.matrix import first_only

pytestmark = pytest.mark.slow

PLAIN = ("patch_similarity", "edge_preservation", "detail_preservation")
ALIGNED = tuple(f"aligned_{name}" for name in PLAIN)
MOVING = ["shift_scale_rotate", "elastic", "perspective"]
STILL = ["noise", "blur", "color_jitter", "brightness_contrast", "coarse_dropout"]


@pytest.fixture(scope="module")
def photos():
    return studies.pictures(9)


@pytest.fixture(scope="module")
def study(photos):
    return studies.measured(photos, models.Colours(), metrics=["aligned_pixels"], draws=2, workers=0)


def values(study, view, names):
    return study.rows().filter(pl.col("view") == view).select(names).collect().to_numpy()


def test_only_what_is_no_motion_is_left(study):
    np.testing.assert_array_equal(values(study, "horizontal_flip", ALIGNED), 1.0)
    for name in STILL:
        np.testing.assert_allclose(values(study, name, ALIGNED), values(study, name, PLAIN), rtol=0, atol=1e-12)
    for name in MOVING:
        aligned, plain = values(study, name, ALIGNED), values(study, name, PLAIN)
        assert (aligned > plain).all(), name
        assert aligned.min() > 0.9, name


@pytest.mark.parametrize("name", first_only(["shift_scale_rotate@3", "crop@4", "translation_black@5", "zoom_out@5"]))
def test_a_row_is_that_of_slow_loops(name, photos):
    """The original is moved by SciPy, with the places of the geometry; places beyond the frame are not compared."""
    family = name.partition("@")[0]
    suite = {"augmentations": "strength", "families": [family]}
    study = studies.measured(photos, models.Colours(), metrics=["aligned_pixels"], workers=0, limit=2, **suite)
    augmentation = load_suite("strength", families=[family])[name]
    for row in study.rows().filter(pl.col("view") == name).collect().iter_rows(named=True):
        picture = np.asarray(Image.open(photos / row["image_id"]).convert("RGB"))
        original = images.ToInput(models.Colours.size, "squash")(picture)
        places = augmentation.geometry(original, row["view_seed"]).source.astype(float)
        down_across = np.moveaxis(places[..., ::-1], 2, 0)
        channels = [
            map_coordinates(original[..., c].astype(float), down_across, order=1, mode="mirror") for c in range(3)
        ]
        outside = ((places <= -0.5) | (places >= len(original) - 0.5)).any(axis=2)
        moved = np.where(outside[..., None], np.nan, np.rint(np.stack(channels, axis=2)))
        view = augmentation.draw(original, row["view_seed"])
        for metric in ALIGNED:
            assert row[metric] == pytest.approx(reference.expected(metric, moved, view).item(), abs=1e-2, nan_ok=True)


def test_they_are_rows_of_summary_with_the_baseline_of_images_that_share_no_motion(study):
    summary = study.summary()
    for aligned, plain in zip(ALIGNED, PLAIN, strict=True):
        part = summary.filter(metric=aligned)
        assert part["n"].to_list() == [18] * 9
        assert part["baseline"].to_list() == pytest.approx(
            summary.filter(metric=plain)["baseline"].to_list(), abs=1e-12
        )


def test_what_a_function_does_to_a_picture_is_not_known(photos):
    own = {"mirror": lambda image, rng: image[:, ::-1]}
    study = studies.measured(photos, models.Colours(), metrics=["aligned_pixels"], augmentations=own, workers=0)
    assert np.isnan(values(study, "mirror", ALIGNED).astype(float)).all()
