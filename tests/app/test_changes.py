"""What can be done to an image on the page: the same views that a study draws."""

import numpy as np
import pytest

from embedshift import make_views
from embedshift.app.measured import LEVELS, all_changes
from embedshift.augmentations import SUITES, Choice, load_suite
from embedshift.augmentations.views import Canvas, view_seed
from embedshift.errors import EmbedshiftError

CHANGES = all_changes()
IMAGE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


def drawn(label, level, name="a.png", seed=0, draw=0):
    augmentation = CHANGES[label].at(level)
    return Canvas(IMAGE).draw(augmentation, view_seed(seed, name, augmentation.seed_name, draw))


@pytest.mark.parametrize(
    ("label", "level", "suite", "view"),
    [("strength: jpeg", 3, "strength", "jpeg@3"), ("strength: noise", 5, "strength", "noise@5"),
     ("strength: flip", 1, "strength", "flip@1"), ("corruptions: fog", 2, "corruptions", "fog@2"),
     ("paper: elastic", 0, "paper", "elastic")],
)  # fmt: skip
@pytest.mark.parametrize("draw", [0, 1])
def test_a_view_is_that_of_a_study_with_this_name_and_seed(label, level, suite, view, draw):
    families = {} if suite == "paper" else {"families": [view.partition("@")[0]]}
    wanted = make_views(IMAGE, image_id="a.png", seed=4, size=32, augmentations=suite, draw=draw, **families)[view]
    assert np.array_equal(drawn(label, level, seed=4, draw=draw), wanted)


def test_everyday_changes_on_the_file_are_those_of_a_study():
    image = np.random.default_rng(1).integers(0, 256, (90, 120, 3), np.uint8)
    wanted = make_views(image, image_id="a.png", augmentations="everyday", apply_to="file", resize="crop", size=32)
    everyday = {label.partition(": ")[2]: change for label, change in CHANGES.items() if label.startswith("everyday: ")}
    assert {*everyday} == {*wanted} - {"original"}


def test_every_change_can_be_drawn_at_both_ends_and_between_levels():
    assert len(CHANGES) > 40
    for label, change in CHANGES.items():
        for level in (0.05, 2.55, LEVELS):
            if change.at(level) is not None:  # a standard's levels are whole
                assert drawn(label, level).shape == IMAGE.shape
                assert len(change.at(level).description) > 5
        assert (change.at(0) is None) == change.has_strength or not hasattr(change.kind, "levels"), label


def test_the_families_of_both_suites_are_there_with_the_strengths_of_their_levels():
    for suite in ("strength", "corruptions"):
        for augmentation in SUITES[suite](Choice()):
            family, level = augmentation.level.family, augmentation.level.number
            change = CHANGES[f"{suite}: {family}"]
            assert change.at(level if change.has_strength else LEVELS).level.parameter == augmentation.level.parameter


def test_a_strength_between_two_levels_lies_between_theirs():
    low, between, high = (CHANGES["strength: noise"].at(level).level.parameter for level in (3, 3.5, 4))
    assert between == pytest.approx((low + high) / 2)


def test_a_level_that_there_is_not_is_a_line():
    for level in (-1, 5.1, float("nan"), float("inf")):
        with pytest.raises(EmbedshiftError, match="give a strength from 0 to 5"):
            CHANGES["strength: jpeg"].at(level)


def test_a_studys_own_augmentations_come_first_and_everyday_ones_before_the_others():
    assert next(iter(CHANGES)).startswith("everyday: ")
    found = all_changes(load_suite({"dark": lambda image, rng: image // 2}))
    assert next(iter(found)) == "study: dark"
    assert np.array_equal(Canvas(IMAGE).draw(found["study: dark"].at(0), 0), IMAGE // 2)
