"""Attention, patches, edges and detail, compared after the original was moved as the view was."""

from dataclasses import dataclass

import albumentations as A
import cv2
import numpy as np
import polars as pl
import pytest
from PIL import Image
from scipy.ndimage import map_coordinates

import embedshift
from embedshift import EmbedshiftError
from embedshift.augmentations import load_suite
from embedshift.encoders import EncoderOutput
from embedshift.sources import images
from support import models, reference, studies
from support.matrix import first_only

SIZE = 64
MOVING = ["shift_scale_rotate", "horizontal_flip", "elastic", "perspective"]
STILL = ["noise", "blur", "color_jitter", "brightness_contrast", "coarse_dropout"]
WHITE = np.full((SIZE, SIZE, 3), 255, np.uint8)


def smooth(seed=0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)


@dataclass
class Follower:
    """An encoder whose attention is the picture itself, so that it moves with it; or, if it stares, never moves."""

    stares: bool = False
    name: str = "follower"
    dim: int = 3
    grid: tuple[int, int] = (SIZE, SIZE)
    size: int = SIZE
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    weights_hash: str = "no weights"

    def __call__(self, views):
        maps = views.mean(axis=-1, dtype=np.float64) + 1
        if self.stares:
            maps = np.broadcast_to(smooth(9).mean(axis=-1) + 1, maps.shape)
        return EncoderOutput((maps.mean(axis=1)[:, :3]).astype(np.float32), maps.astype(np.float32), "mean")


def values(study, view, names):
    return study.rows().filter(view=view).select(names).collect().to_numpy()


def columns(study, name):
    return values(study, name, ["attention_similarity", "aligned_attention_similarity"]).astype(float).T


def followed(tmp_path, encoder, **settings):
    asked = {"metrics": ["aligned", "aligned_pixels"], "workers": 0} | settings
    return embedshift.run(studies.pictures(6), out=tmp_path / "study", model=encoder, **asked)


@pytest.mark.parametrize("name", MOVING)
def test_values_move_as_the_view_s_pixels(name):
    suite = load_suite("paper")
    for seed in range(6):
        picture = smooth(seed)
        view = suite[name].draw(picture, seed).astype(np.float64)
        for channel in range(3):
            moved = suite[name].warp(picture, picture[..., channel].astype(np.float64), seed)
            inside = ~np.isnan(moved)
            assert np.abs(moved - view[..., channel])[inside].max() < 4
            # Where all of a pixel comes from the original, a white one stays white; OpenCV places the pixels of bytes
            # to a 32nd of a pixel.
            white = suite[name].draw(WHITE, seed)[..., channel]
            assert not inside[white < 240].any()
            assert inside[white == 255].mean() > 0.99
        np.testing.assert_array_equal(suite[name].draw(picture, seed), view)  # no trace is left in the suite


@pytest.mark.slow
def test_an_encoder_that_follows_the_picture_is_not_punished(tmp_path):
    study = followed(tmp_path, Follower(), draws=2)
    for name in MOVING:
        plain, aligned = columns(study, name)
        assert len(aligned) == 12
        assert aligned.min() > 0.9999, name
        assert (plain < 0.99).all() or name == "elastic", name
    plain, aligned = columns(study, "horizontal_flip")
    np.testing.assert_allclose(aligned, 1, rtol=0, atol=1e-12)
    for name in STILL:
        plain, aligned = columns(study, name)
        np.testing.assert_allclose(aligned, plain, rtol=0, atol=1e-12)
    assert columns(study, "noise")[0].max() < 0.99


@pytest.mark.slow
def test_an_encoder_that_stares_at_one_place_is_found_out(tmp_path):
    study = followed(tmp_path, Follower(stares=True))
    for name in ("shift_scale_rotate", "horizontal_flip", "perspective"):
        plain, aligned = columns(study, name)
        np.testing.assert_array_equal(plain, 1)
        assert aligned.max() < 0.999, name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_own_augmentations(tmp_path):
    own = {
        "mirror": lambda image, rng: image[:, ::-1],
        "reflect": A.Rotate((30, 30), border_mode=cv2.BORDER_REFLECT, p=1),
        "mixed": A.Compose([A.VerticalFlip(p=1), A.GaussNoise(p=0.5), A.CoarseDropout(fill_mask=0, p=1)]),
    }
    study = followed(tmp_path, Follower(), augmentations=own)
    plain, aligned = columns(study, "mirror")
    assert np.isnan(aligned).all(), "what a function does to a picture is not known"
    assert np.isnan(values(study, "mirror", ALIGNED).astype(float)).all()
    assert not np.isnan(plain).any()
    assert columns(study, "reflect")[1].min() > 0.9999, "what a border mode makes up is left out"
    described = study.summary().filter(metric="aligned_attention_similarity")
    assert dict(described.select("augmentation", "n").iter_rows()) == {"mirror": 0, "reflect": 6, "mixed": 6}


def test_a_composition_moves_by_its_moving_parts_alone():
    picture, values = smooth(), np.arange(SIZE * SIZE, dtype=np.float64).reshape(SIZE, SIZE)
    parts = [A.GaussNoise(p=0.5), A.HorizontalFlip(p=0.3), A.CoarseDropout(fill_mask=0, p=1), A.VerticalFlip(p=0.7)]
    suite = load_suite({"mixed": A.Compose(parts), "flips": A.Compose([parts[1], parts[3]])})
    seen = set()
    for seed in range(24):
        moved = suite["mixed"].warp(picture, values, seed)
        turned = {(h, v): values[:: -1 if v else 1, :: -1 if h else 1] for h in (0, 1) for v in (0, 1)}
        seen |= {key for key, wanted in turned.items() if np.array_equal(moved, wanted)}
        drawn = suite["flips"].draw(picture, seed)
        wanted = suite["flips"].warp(picture, picture[..., 0].astype(np.float64), seed)
        np.testing.assert_array_equal(drawn[..., 0], wanted)
    assert seen == {(0, 0), (0, 1), (1, 1)}, "albumentations gives every part the same seed"


def test_what_cannot_be_moved_is_said_in_one_line():
    class Odd(A.HorizontalFlip):
        def apply_to_mask(self, mask, **params):
            raise ValueError("no\nmasks")

    with pytest.raises(EmbedshiftError, match=r"'odd' cannot be aligned \(ValueError: no masks\): leave out"):
        load_suite({"odd": Odd(p=1)})["odd"].warp(WHITE, np.zeros((SIZE, SIZE)), 0)


PLAIN = ("patch_similarity", "edge_preservation", "detail_preservation")
ALIGNED = tuple(f"aligned_{name}" for name in PLAIN)


@pytest.fixture(scope="module")
def study():
    return studies.measured(studies.pictures(6), models.Colours(), metrics=["aligned_pixels"], draws=2)


@pytest.mark.slow
def test_only_what_is_no_motion_is_left(study):
    np.testing.assert_array_equal(values(study, "horizontal_flip", ALIGNED), 1.0)
    for name in STILL:
        np.testing.assert_allclose(values(study, name, ALIGNED), values(study, name, PLAIN), rtol=0, atol=1e-12)
    for name in set(MOVING) - {"horizontal_flip"}:
        aligned, plain = values(study, name, ALIGNED), values(study, name, PLAIN)
        assert (aligned > plain).all(), name
        assert aligned.min() > 0.9, name


@pytest.mark.slow
@pytest.mark.parametrize("name", first_only(["shift_scale_rotate@3", "crop@4", "translation_black@5", "zoom_out@5"]))
def test_a_row_is_that_of_slow_loops(name):
    """The original is moved by SciPy, with the places of the geometry; places beyond the frame are not compared."""
    family, photos = name.partition("@")[0], studies.pictures(6)
    suite = {"augmentations": "strength", "families": [family]}
    study = studies.measured(photos, models.Colours(), metrics=["aligned_pixels"], limit=2, **suite)
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


@pytest.mark.slow
def test_they_are_rows_of_summary_with_the_baseline_of_images_that_share_no_motion(study):
    summary = study.summary()
    for aligned, plain in zip(ALIGNED, PLAIN, strict=True):
        part = summary.filter(metric=aligned)
        assert part["n"].to_list() == [12] * 9
        assert part["baseline"].to_list() == pytest.approx(
            summary.filter(metric=plain)["baseline"].to_list(), abs=1e-12
        )


def test_a_reflected_border_is_outside():
    turn = {"limit": (40, 40), "p": 1}
    suite = load_suite({"reflect": A.Rotate(**turn, border_mode=cv2.BORDER_REFLECT), "black": A.Rotate(**turn)})
    values = smooth()[..., 0].astype(np.float64)
    reflect, black = (suite[name].warp(WHITE, values, 3) for name in ("reflect", "black"))
    np.testing.assert_array_equal(reflect, black)
    assert 0.05 < np.isnan(reflect).mean() < 0.5
    np.testing.assert_array_equal(suite["reflect"].draw(WHITE, 3), WHITE)  # the suite's own keeps its border
