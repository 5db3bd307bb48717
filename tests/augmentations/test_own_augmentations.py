"""The user's own augmentations: drawn always, checked, written down, and drawn again from what was written."""

import functools
import itertools
import json
import pickle
import re

import albumentations as A
import numpy as np
import pytest

from embedshift import EmbedshiftError
from embedshift.augmentations import SUITES, Augmentation, load_suite, rebuild_suite
from embedshift.augmentations.views import draw_views

PICTURE = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)


def darker(image, rng):
    return image // 2


def grain(image, rng):
    return (image ^ rng.integers(0, 16, image.shape, dtype=np.uint8)).astype(np.uint8)


class Dim:
    def __init__(self, by):
        self.by = by

    def __call__(self, image, rng):
        return image // self.by


def own_suite():
    return {
        "darker": darker,
        "grain": grain,
        "dim": Dim(3),
        "partial": functools.partial(lambda image, rng, by: image // by, by=5),
        "sepia": A.ToSepia(),
        "compose": A.Compose([A.HorizontalFlip(p=0.5), A.RandomBrightnessContrast(p=1)]),
        "one of": A.OneOf([A.VerticalFlip(p=1), A.GaussNoise(p=1)], p=0.2),
    }


def test_the_user_s_own_augmentations_are_drawn():
    suite = load_suite(own_suite())
    assert suite.names == tuple(own_suite())
    np.testing.assert_array_equal(suite["darker"].draw(PICTURE, 1), PICTURE // 2)
    np.testing.assert_array_equal(suite["dim"].draw(PICTURE, 1), PICTURE // 3)
    np.testing.assert_array_equal(suite["partial"].draw(PICTURE, 1), PICTURE // 5)
    np.testing.assert_array_equal(suite["grain"].draw(PICTURE, 7), grain(PICTURE, np.random.default_rng(7)))
    for name in suite.names:
        first = suite[name].draw(PICTURE, 11)
        suite[name].draw(PICTURE, 12)
        np.testing.assert_array_equal(suite[name].draw(PICTURE, 11), first, name)
    # The parts of a composition keep their own chance, and the seed decides it.
    flips = {bytes(suite["compose"].draw(PICTURE, seed)) for seed in range(8)}
    assert len(flips) > 1


def test_an_augmentation_is_never_left_out_by_chance(caplog):
    never = A.InvertImg(p=0.0)
    suite = load_suite({"invert": never, "one of": A.OneOf([A.InvertImg(p=1)], p=0.01)})
    for name in suite.names:
        for seed in range(20):
            np.testing.assert_array_equal(suite[name].draw(PICTURE, seed), 255 - PICTURE)
    assert never.p == 0.0, "the user's own object is left as it was"
    assert "p = 0.0" in caplog.text


def test_a_callable_cannot_change_the_original():
    def spoil(image, rng):
        image[:] = 0
        return image

    picture = PICTURE.copy()
    views, _ = draw_views(picture, "a.jpg", load_suite({"spoil": spoil, "darker": darker}))
    np.testing.assert_array_equal(picture, PICTURE)
    np.testing.assert_array_equal(views[2], PICTURE // 2)


def fails(image, rng):
    raise RuntimeError("no\nlight")


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        (lambda image, rng: image[:10], r"'mine' returned uint8 \(10, 48, 3\); it must be uint8 \(48, 48, 3\)"),
        (lambda image, rng: image / 255, r"'mine' returned float64 \(48, 48, 3\)"),
        (lambda image, rng: None, r"'mine' returned NoneType"),
        (A.Normalize(), r"'mine' returned float32"),
        (lambda image: image, r"'mine' failed: TypeError"),
        (fails, r"'mine' failed: RuntimeError: no light"),
    ],
)
def test_what_an_augmentation_returns_is_checked(transform, words):
    with pytest.raises(EmbedshiftError, match=words):
        load_suite({"mine": transform})["mine"].draw(PICTURE, 0)


@pytest.mark.parametrize(
    ("augmentations", "words"),
    [
        ({}, "at least one"),
        ({"original": darker}, "'original' cannot be a name"),
        ({"augmentation": darker}, "'augmentation' cannot be a name"),
        ({"": darker}, "'' cannot be a name"),
        ({3: darker}, "3 cannot be a name"),
        ({"mine": "blur"}, "'mine': give an albumentations transform or a callable"),
        ([A.Blur()], "name of a suite, a YAML file, or a dict"),
        ("papr", "unknown augmentation suite 'papr'; did you mean 'paper'"),
    ],
)
def test_wrong_suites_are_refused(augmentations, words):
    with pytest.raises(EmbedshiftError, match=words) as caught:
        load_suite(augmentations)
    assert caught.value.exit_code == 2


def sometimes(image, rng):
    if rng.random() < 0.8:
        raise ValueError("not this time")
    return image[::-1]


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        (lambda image, rng: image[:10], r"'mine' returned uint8 \(10, 40, 3\); it must be uint8 \(40, 40, 3\)"),
        (A.CenterCrop(90, 90), "'mine' failed: CropSizeError"),
        (fails, None),  # it may look for something that a made image does not show
        (sometimes, None),
        (A.OneOf([A.RandomCrop(9, 9), A.ToSepia()]), None),
    ],
)
def test_what_always_fails_is_seen_before_the_run(transform, words):
    suite = load_suite({"fine": darker, "mine": transform})
    if words is None:
        suite.try_out(40)
        return
    with pytest.raises(EmbedshiftError, match=words) as caught:
        suite.try_out(40)
    assert caught.value.exit_code == 2


@pytest.mark.slow
@pytest.mark.parametrize("known", ["paper", "style", "strength", "corruptions", "everyday", None])
def test_a_suite_from_its_stored_description_draws_the_same_bytes(known):
    suite = load_suite(known or own_suite())
    rebuilt = rebuild_suite(json.loads(json.dumps(suite.describe())))
    # The code of a user's callable is not stored.
    assert rebuilt.names == (suite.names if known else ("sepia", "compose", "one of"))
    assert rebuilt.describe() == {name: suite.describe()[name] for name in rebuilt.names}
    for again in (rebuilt, *([pickle.loads(pickle.dumps(suite))] if known else [])):
        for name, seed in itertools.product(rebuilt.names, (5, 6)):
            np.testing.assert_array_equal(again[name].draw(PICTURE, seed), suite[name].draw(PICTURE, seed), name)


def described(transform):
    return load_suite({"mine": transform}).describe()["mine"]


def test_descriptions_follow_code_and_parameters():
    entry = described(darker)
    assert set(entry) == {"callable"}
    assert re.fullmatch("darker-[0-9a-f]{8}", entry["callable"])
    assert described(Dim(2)) != described(Dim(3))
    assert described(Dim(object())) == described(Dim(object())), "an address must not be part of it"
    assert described(A.Blur(blur_limit=(3, 5))) != described(A.Blur(blur_limit=(3, 7)))
    assert described(A.Blur(p=0.5)) == described(A.Blur(p=1)), "drawn always, both"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_transform_that_cannot_be_written_down_is_refused():
    suite = load_suite({"mine": A.Lambda(image=lambda image, **_: image)})
    with pytest.raises(EmbedshiftError, match=r"'mine': give a callable") as caught:
        suite.describe()
    assert caught.value.exit_code == 2


def test_a_callable_of_a_built_in_suite_is_known_by_its_version_and_drawn_again(monkeypatch):
    made = [Augmentation("dark", darker, version=2), Augmentation("mirror", A.HorizontalFlip(p=1))]
    monkeypatch.setitem(SUITES._filled(), "made", lambda _: made)
    suite = load_suite("made")
    described = json.loads(json.dumps(suite.describe()))
    assert described["dark"] == {"built_in": "dark", "version": 2}
    rebuilt = rebuild_suite(described)
    assert rebuilt.names == ("dark", "mirror")
    assert rebuilt.describe() == described
    np.testing.assert_array_equal(rebuilt["dark"].draw(PICTURE, 3), PICTURE // 2)
    # What another version drew cannot be drawn here, nor what no suite has.
    assert rebuild_suite(described | {"dark": {"built_in": "dark", "version": 1}}).names == ("mirror",)
    assert rebuild_suite({"gone": {"built_in": "gone", "version": 1}}) is None
