"""What can be done to an image on the page: the same views that a study draws."""

import numpy as np
import pytest

from embedshift import make_views
from embedshift.app.changes import all_changes, chosen
from embedshift.augmentations import SUITES, Choice, load_suite
from embedshift.errors import EmbedshiftError

CHANGES = all_changes()
IMAGE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


@pytest.mark.parametrize(
    ("label", "parameter", "suite", "view"),
    [("strength: jpeg", 25, "strength", "jpeg@3"), ("strength: noise", 0.48, "strength", "noise@5"),
     ("strength: flip", 1, "strength", "flip@1"), ("corruptions: fog", 2, "corruptions", "fog@2"),
     ("paper: elastic", 0, "paper", "elastic")],
)  # fmt: skip
@pytest.mark.parametrize("draw", [0, 1])
def test_a_view_is_that_of_a_study_with_this_name_and_seed(label, parameter, suite, view, draw):
    families = {} if suite == "paper" else {"families": [view.partition("@")[0]]}
    wanted = make_views(IMAGE, image_id="a.png", seed=4, size=32, augmentations=suite, draw=draw, **families)[view]
    drawn = CHANGES[label].draw(IMAGE, "a.png", parameter, seed=4, draw=draw)
    assert np.array_equal(drawn, wanted)


def test_every_change_can_be_drawn_at_both_ends_and_where_it_begins():
    assert len(CHANGES) > 40
    for change in CHANGES.values():
        low, high, step = change.range
        assert low < high
        assert step > 0
        for parameter in (low, high, change.initial):
            assert change.draw(IMAGE, "a.png", parameter).shape == IMAGE.shape
        if change.family is not None:
            assert low <= change.initial <= high
            assert change.hint


def test_every_slider_reaches_the_unchanged_image_by_its_steps():
    for change in CHANGES.values():
        if change.family is not None:
            low, _, step = change.range
            steps = (change.family.zero - low) / step
            assert steps == pytest.approx(round(steps), abs=1e-6), change.label
            assert np.array_equal(change.draw(IMAGE, "a.png", change.family.zero), IMAGE)
            assert change.words(change.family.zero) == "unchanged"


def test_all_families_of_both_suites_are_there():
    for suite in ("strength", "corruptions"):
        families = {each.grade.family for each in SUITES[suite](Choice())}
        assert {name.replace("_", " ") for name in families} == {
            label.partition(": ")[2] for label in CHANGES if label.startswith(f"{suite}: ")
        }


def test_a_parameter_outside_of_the_slider_is_its_end_and_one_that_is_no_number_a_line():
    jpeg = CHANGES["strength: jpeg"]
    assert np.array_equal(jpeg.draw(IMAGE, "a", -(10**9)), jpeg.draw(IMAGE, "a", 5))
    with pytest.raises(EmbedshiftError, match="no number"):
        jpeg.draw(IMAGE, "a", float("nan"))


def test_every_change_says_what_it_is():
    assert all(len(change.what) > 5 for change in CHANGES.values())
    assert CHANGES["paper: noise"].what.startswith("Gaussian noise, sd .44 to .88")
    assert CHANGES["everyday: scan"].what.startswith("Printed and scanned")
    assert CHANGES["strength: jpeg"].what == "Writes the image as JPEG and reads it again."


def test_an_unknown_label_is_a_line():
    with pytest.raises(EmbedshiftError, match="from the list"):
        chosen(CHANGES, "strength: nothing")


def test_a_studys_own_augmentations_come_first():
    own = load_suite({"dark": lambda image, rng: image // 2})
    found = all_changes(own)
    assert next(iter(found)) == "study: dark"
    assert np.array_equal(found["study: dark"].draw(IMAGE, "a", 0), IMAGE // 2)
