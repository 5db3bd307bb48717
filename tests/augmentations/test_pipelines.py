"""Pipelines of a YAML file: what they draw, where they move things, what they are known by, and what is refused."""

import json
import pickle
from types import SimpleNamespace

import albumentations as A
import cv2
import numpy as np
import pytest

import embedshift
from embedshift import EmbedshiftError
from embedshift.augmentations import SUITES, Augmentation, load_suite, rebuild_suite
from embedshift.augmentations.augmentation import Chain
from embedshift.augmentations.changes import Geometry
from embedshift.augmentations.family import FAMILIES
from embedshift.augmentations.views import Canvas, make_views, view_seed
from embedshift.config import make_config
from embedshift.pipeline.prepare import find_suite
from support.mean_colour import MeanColour
from support.models import pictures

SIDE = 64
IMAGE = cv2.resize(np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8), (SIDE, SIDE))
TEXT = """
night:                      # a name: one augmentation
  - RandomBrightnessContrast: {brightness_limit: [-0.4, -0.3], contrast_limit: 0}
  - ISONoise: {intensity: [0.3, 0.5]}
phone:
  - jpeg@4                  # a registered augmentation
  - blur                    # of the paper
mirror:
  - HorizontalFlip
sepia: ToSepia              # a single step needs no list
"""


@pytest.fixture
def suite_of(tmp_path):
    """The suite of a file's text."""

    def read(text, name="own.yaml"):
        (tmp_path / name).write_text(text)
        return load_suite(tmp_path / name)

    return read


def seeds_by_hand(seed, steps):
    """The rule of the docs, written again: whole numbers below 2 ** 32 from the view's own generator."""
    return np.random.default_rng(seed).integers(2**32, size=steps).tolist()


def test_steps_are_drawn_one_after_the_other_by_seeds_of_their_own(suite_of):
    suite = suite_of(TEXT)
    assert suite.names == ("night", "phone", "mirror", "sepia")
    dark = A.RandomBrightnessContrast(brightness_limit=(-0.4, -0.3), contrast_limit=0, p=1)
    grain = A.ISONoise(intensity=(0.3, 0.5), p=1)
    for seed in (1, 2**32 - 1):
        first, second = seeds_by_hand(seed, 2)
        assert first != second
        dark.set_random_seed(first)
        grain.set_random_seed(second)
        wanted = grain(image=dark(image=IMAGE)["image"])["image"]
        np.testing.assert_array_equal(suite["night"].draw(IMAGE, seed), wanted)
        jpeg = FAMILIES["jpeg"].at(4, 10.0).draw(IMAGE, first)
        np.testing.assert_array_equal(suite["phone"].draw(IMAGE, seed), load_suite("paper")["blur"].draw(jpeg, second))
    np.testing.assert_array_equal(suite["mirror"].draw(IMAGE, 3), IMAGE[:, ::-1])


def test_one_transform_is_an_augmentation_as_any_other(suite_of):
    suite = suite_of(TEXT)
    assert isinstance(suite["mirror"].transform, A.HorizontalFlip)
    assert suite.describe()["sepia"] == load_suite({"sepia": A.ToSepia()}).describe()["sepia"]
    assert isinstance(suite_of("small: jpeg@4")["small"].transform, Chain)
    assert not suite_of("small: jpeg@4").has_levels


def test_make_views_and_text_paths_take_a_file(suite_of, tmp_path):
    suite = suite_of(TEXT)
    for given in (tmp_path / "own.yaml", str(tmp_path / "own.yaml")):
        views = make_views(IMAGE, image_id="a.png", size=SIDE, augmentations=given)
        assert tuple(views) == ("original", *suite.names)
        np.testing.assert_array_equal(views["night"], suite["night"].draw(IMAGE, view_seed(0, "a.png", "night", 0)))
    suite_of(TEXT, "own.yml")
    assert load_suite(str(tmp_path / "own.yml")).names == suite.names


def test_a_suite_is_known_by_its_content_and_drawn_again_from_it(suite_of):
    suite = suite_of(TEXT)
    stored = json.loads(json.dumps(suite.describe()))
    other = "\n".join(line.split("#")[0] for line in TEXT.splitlines()).replace("-0.4", "-0.40")
    assert json.loads(json.dumps(suite_of(other, "elsewhere.yaml").describe())) == stored, "no path, no comment"
    for change in (("-0.4", "-0.5"), ("jpeg@4", "jpeg@3"), ("- blur", "- Blur"), ("ISONoise:", "ISONoise: #")):
        changed = suite_of(TEXT.replace(*change).replace("# {", "{p: 0.9, "))
        assert json.loads(json.dumps(changed.describe())) != stored
    rebuilt = rebuild_suite(stored)
    assert rebuilt.names == suite.names
    for again in (rebuilt, pickle.loads(pickle.dumps(suite))):
        for name in suite.names:
            np.testing.assert_array_equal(again[name].draw(IMAGE, 5), suite[name].draw(IMAGE, 5))
    newer = {"phone": {"steps": [stored["phone"]["steps"][0] | {"version": 99}, stored["phone"]["steps"][1]]}}
    assert rebuild_suite(newer) is None, "another version drew other views"
    assert suite["phone"].description.startswith("Writes the image as JPEG and reads it again (quality: 10), then Gau")


MOVED = "both: [HorizontalFlip, {Affine: {translate_px: {x: 7, y: -5}, rotate: 20}}, ISONoise, jpeg@2, VerticalFlip]"


def test_where_a_pipeline_moves_things_is_where_its_view_shows_them(suite_of):
    """The map says of each pixel which place of the original it shows: there stand its colours."""
    suite = suite_of(MOVED.replace("ISONoise, jpeg@2, ", ""))
    for seed in range(3):
        source = suite["both"].geometry(IMAGE, seed).source
        view = suite["both"].draw(IMAGE, seed).astype(float)
        seen = np.isfinite(source).all(axis=2)
        places = np.where(seen[..., None], source, 0).astype(np.float32)
        shown = cv2.remap(IMAGE, places, None, cv2.INTER_LINEAR).astype(float)
        assert 0.6 < seen.mean() < 0.95
        assert np.abs(shown - view)[seen].mean() < 1.5
        moved, hidden = Canvas(IMAGE).moved_and_hidden(suite["both"], seed)
        assert hidden == pytest.approx(1 - seen.mean(), abs=0.02)
        y, x = np.mgrid[:SIDE, :SIDE]
        squares = ((source - np.dstack([x, y])) ** 2).sum(axis=2)[seen]
        assert moved == pytest.approx(np.sqrt(squares.mean()) / SIDE, rel=0.02)
        light = IMAGE[..., 1].astype(float)
        warped = suite["both"].warp(IMAGE, light, seed)
        assert np.abs(warped - view[..., 1])[~np.isnan(warped)].mean() < 1.5


def test_steps_that_move_nothing_change_no_place_and_what_is_hidden_moves_on(suite_of):
    still = suite_of("a: [ISONoise, jpeg@2, blur]")["a"]
    assert Canvas(IMAGE).moved_and_hidden(still, 0) == (0.0, 0.0)
    np.testing.assert_array_equal(still.warp(IMAGE, IMAGE[..., 0].astype(float), 0), IMAGE[..., 0])
    both = suite_of("a: [coarse_dropout, HorizontalFlip]")["a"]
    black = np.zeros_like(IMAGE)
    geometry, view = both.geometry(black, 4), both.draw(black, 4)
    assert (geometry.hidden | (view == 0).all(axis=2)).all(), "what is not black was dropped"
    assert geometry.hidden.mean() == pytest.approx((view != 0).any(axis=2).mean(), abs=0.02)
    assert Canvas(black).moved_and_hidden(both, 4)[1] == pytest.approx(geometry.hidden.mean())


def test_what_two_steps_hide_is_hidden():
    left, top = np.zeros((2, 4, 4), bool)
    left[:, 0], top[0] = True, True
    assert Geometry(hidden=left).then(Geometry(hidden=top)).covered(4) == 7 / 16
    assert Geometry(hidden=left).then(Geometry()).covered(4) == 1 / 4


def test_a_step_sees_what_the_one_before_it_gave_and_one_of_which_nothing_is_known_leaves_all_unknown():
    mirror, seen = Augmentation("mirror", A.HorizontalFlip(p=1)), []
    watcher = SimpleNamespace(geometry=lambda image, seed: seen.append(image), draw=None)
    assert Chain((mirror, watcher)).geometry(IMAGE, np.random.default_rng(0)) is None
    np.testing.assert_array_equal(seen[0], IMAGE[:, ::-1])
    chain = Augmentation("both", Chain((mirror, Augmentation("own", lambda image, rng: image))))
    assert np.isnan(Canvas(IMAGE).moved_and_hidden(chain, 0)).all()
    assert np.isnan(chain.warp(IMAGE, IMAGE[..., 0].astype(float), 0)).all()


def test_a_chance_of_its_own_is_kept_and_said_where_a_view_may_be_the_original(suite_of, caplog):
    suite = suite_of("sometimes: [InvertImg: {p: 0.5}]\nboth: [InvertImg: {p: 0.5}, ToSepia]")
    inverted = [bool((suite["sometimes"].draw(IMAGE, seed) != IMAGE).any()) for seed in range(40)]
    assert 8 < sum(inverted) < 32
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["augmentation 'sometimes' leaves some images unchanged: every step has a p below 1"]


WRONG = {
    "a: [Blur, HorizontalFlp]": "a, step 2: unknown step 'HorizontalFlp'; did you mean 'HorizontalFlip' (transform of "
    "albumentations) or 'horizontal_flip' (registered augmentation)?",
    "a: qqqqqqq": "a, step 1: unknown step 'qqqqqqq'",
    "a: {Blur: {blur_limits: 3}}": "unknown parameter of Blur 'blur_limits'; did you mean 'blur_limit'? Known: "
    "blur_limit, p",
    "a: {Blur: {strict: false}}": "unknown parameter of Blur 'strict'",
    "a: {Affine: {scale: {x: 1, z: 2}}}": "unknown name in scale of Affine 'z'. Known: x, y",
    "a: {Blur: {blur_limit: lots}}": "Blur: blur_limit: Input should be a valid tuple or a valid integer, unable to",
    "a: {Blur: {blur_limit: .nan}}": "Blur: blur_limit: give a plain value (ValueError",
    "a: {Blur: {blur_limit: 2026-01-01}}": "Blur: blur_limit: give a plain value (TypeError",
    "a: {Lambda: {name: x, image: os.system}}": "Lambda cannot be used: its settings cannot be stored as plain values",
    "a: ToTensorV2": "ToTensorV2 cannot be used: it does not transform single images",
    "a: ImageOnlyTransform": "ImageOnlyTransform cannot be used: it does not transform single images",
    "a: Normalize": "Normalize cannot be used: it gives float32",
    "a: {ToGray: {num_output_channels: 1}}": "ToGray cannot be used: it gives uint8 (64, 64)",
    "a: Mosaic": "Mosaic cannot be used: in addition to the image it needs mosaic_metadata",
    "a: {Equalize: {mask: os.system}}": "Equalize: mask: Input should be an instance of ndarray or callable",
    "a: {jpeg@4: {p: 0.5}}": "a, step 1: 'jpeg@4' takes no parameters",
    "a: [[Blur]]": "a, step 1: a step is a name, or '- name: {parameter: value}'",
    "a: {Blur: 3}": "a, step 1: a step is a name, or",
    "a: []": "a: give at least one step",
    "a:": "a: give at least one step",
    "{}": "give at least one pipeline",
    "- Blur": "give at least one pipeline",
    "on: Blur": "True cannot be a name",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_one_line_that_says_where(text, suite_of, tmp_path):
    with pytest.raises(EmbedshiftError) as caught:
        suite_of(text)
    assert caught.value.exit_code == 2
    assert WRONG[text] in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'own.yaml'}: ")
    assert len(str(caught.value).replace(str(tmp_path), "")) < 300


def test_a_name_of_two_registered_augmentations_is_refused(suite_of, monkeypatch):
    twin = Augmentation("blur", A.MedianBlur(p=1))
    monkeypatch.setitem(SUITES._filled(), "twins", lambda _: [twin])
    with pytest.raises(EmbedshiftError, match="'blur' is the name of 2 registered augmentations; write it as"):
        suite_of("a: blur")


@pytest.mark.parametrize(("settings", "is_said"), [({}, True), ({"apply_to": "file"}, False)])
def test_steps_of_a_suite_for_files_change_the_input_only_with_a_line(suite_of, tmp_path, caplog, settings, is_said):
    suite_of("phone: [crop_90, jpeg@4]\nmirror: HorizontalFlip")
    find_suite(make_config({"augmentations": str(tmp_path / "own.yaml"), **settings}))
    words = "the steps of `augmentations` everyday change the encoder's input here, and the file in the suite"
    assert (words in caplog.text) == is_said


def test_families_cannot_be_chosen_of_a_file(suite_of, tmp_path):
    suite_of(TEXT)
    with pytest.raises(EmbedshiftError, match="`levels` and `frost_textures` apply only"):
        load_suite(tmp_path / "own.yaml", levels=3)


def test_single_augmentations_of_a_suite_draw_as_in_the_suite():
    whole, chosen = load_suite("everyday"), load_suite("everyday", families=("crop_90", "recompress_40"))
    assert chosen.describe() == {name: whole.describe()[name] for name in ("recompress_40", "crop_90")}
    with pytest.raises(EmbedshiftError, match="unknown augmentation of everyday 'crop_9'; did you mean 'crop_90'"):
        load_suite("everyday", families=("crop_9",))
    with pytest.raises(EmbedshiftError, match="use `augmentations` everyday with `families` recompress_40"):
        load_suite("recompress_40")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_whatever_may_be_named_is_written_down_and_drawn_again(suite_of):
    """All transforms that can be used as they are: in albumentations 2.0.8 more than eighty."""
    usable = []
    for name in dir(A):
        try:
            usable.append((name, suite_of(f"{name}: {name}")[name]))
        except EmbedshiftError:
            continue
    assert len(usable) > 80
    suite = rebuild_suite(json.loads(json.dumps({name: each.describe() for name, each in usable})))
    for name, each in usable:
        try:
            view = each.draw(IMAGE, 2)
        except EmbedshiftError:  # a crop
            continue
        np.testing.assert_array_equal(suite[name].draw(IMAGE, 2), view, name)


def test_a_study_of_a_file_and_one_of_its_shape_refused_before_the_run(suite_of, tmp_path):
    photos = pictures(tmp_path / "photos", 3)
    suite_of(TEXT)
    given = {"model": MeanColour(), "workers": 0}
    study = embedshift.run(photos, out=tmp_path / "study", augmentations=tmp_path / "own.yaml", **given)
    assert study.augmentations == ["night", "phone", "mirror", "sepia"]
    assert study.info()["counts"]["measured"] == 3
    (tmp_path / "moved").mkdir()
    (tmp_path / "own.yaml").rename(tmp_path / "moved" / "other.yml")
    again = embedshift.run(photos, out=tmp_path / "study", augmentations=str(tmp_path / "moved" / "other.yml"), **given)
    assert again.info()["config_hash"] == study.info()["config_hash"]
    for text, words in (
        ("a: [blur, RandomCrop: {height: 9, width: 9}]", r"'a' failed: augmentation 'RandomCrop' returned uint8 \(9"),
        ("a: {CenterCrop: {height: 900, width: 900}}", "'a' failed: CropSizeError"),
    ):
        suite_of(text)
        with pytest.raises(EmbedshiftError, match=words) as caught:
            embedshift.run(photos, out=tmp_path / "refused", augmentations=tmp_path / "own.yaml", **given)
        assert caught.value.exit_code == 2
        assert not (tmp_path / "refused").exists()
