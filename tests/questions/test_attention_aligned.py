"""Attention compared after the original's map was moved as the picture was."""

from dataclasses import dataclass

import albumentations as A
import cv2
import numpy as np
import polars as pl
import pytest

import embedshift
from embedshift import EmbedshiftError
from embedshift.augmentations import load_suite
from embedshift.encoders import EncoderOutput
from support import studies

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


def columns(study, name):
    rows = study.rows().filter(pl.col("view") == name).collect()
    return rows["attention_similarity"].to_numpy(), rows["aligned_attention_similarity"].to_numpy()


@pytest.fixture(scope="module")
def photos():
    return studies.pictures(6)


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
def test_an_encoder_that_follows_the_picture_is_not_punished(photos, tmp_path):
    study = embedshift.run(photos, out=tmp_path / "study", model=Follower(), metrics=["aligned"], draws=2, workers=0)
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
def test_an_encoder_that_stares_at_one_place_is_found_out(photos, tmp_path):
    study = embedshift.run(photos, out=tmp_path / "study", model=Follower(stares=True), metrics=["aligned"], workers=0)
    for name in ("shift_scale_rotate", "horizontal_flip", "perspective"):
        plain, aligned = columns(study, name)
        np.testing.assert_array_equal(plain, 1)
        assert aligned.max() < 0.999, name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_own_augmentations(photos, tmp_path):
    own = {
        "mirror": lambda image, rng: image[:, ::-1],
        "reflect": A.Rotate((30, 30), border_mode=cv2.BORDER_REFLECT, p=1),
        "mixed": A.Compose([A.VerticalFlip(p=1), A.GaussNoise(p=0.5), A.CoarseDropout(fill_mask=0, p=1)]),
    }
    study = embedshift.run(
        photos, out=tmp_path / "study", model=Follower(), metrics=["aligned"], augmentations=own, workers=0
    )
    plain, aligned = columns(study, "mirror")
    assert np.isnan(aligned).all(), "what a function does to a picture is not known"
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


def test_a_reflected_border_is_outside():
    turn = {"limit": (40, 40), "p": 1}
    suite = load_suite({"reflect": A.Rotate(**turn, border_mode=cv2.BORDER_REFLECT), "black": A.Rotate(**turn)})
    values = smooth()[..., 0].astype(np.float64)
    reflect, black = (suite[name].warp(WHITE, values, 3) for name in ("reflect", "black"))
    np.testing.assert_array_equal(reflect, black)
    assert 0.05 < np.isnan(reflect).mean() < 0.5
    np.testing.assert_array_equal(suite["reflect"].draw(WHITE, 3), WHITE)  # the suite's own keeps its border


def test_what_cannot_be_moved_is_said_in_one_line():
    class Odd(A.HorizontalFlip):
        def apply_to_mask(self, mask, **params):
            raise ValueError("no\nmasks")

    with pytest.raises(EmbedshiftError, match=r"'odd' cannot be aligned \(ValueError: no masks\): leave out"):
        load_suite({"odd": Odd(p=1)})["odd"].warp(WHITE, np.zeros((SIZE, SIZE)), 0)
