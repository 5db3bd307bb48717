"""The rules of naming, against vectors that are made by hand: alterations add to a vector along axes of their own."""

import dataclasses
import zlib
from types import SimpleNamespace

import numpy as np
import pytest

from embedshift.encoders.base import Preprocess
from embedshift.stacks.recipe import Recipe, axes_of, change, recipe_of, words
from embedshift.stacks.search import Search

IMAGES, FLOOR = 5, 1e-10
PREPROCESS = Preprocess(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 256)
REFERENCE = recipe_of(SimpleNamespace(preprocess=PREPROCESS, module=None), None)
AXES = {
    "channels": ["rgb", "bgr", "late"],
    "decoder": ["full", "half"],
    "alpha": ["white", "black", "dropped"],
    "jpeg": [None, 95, 75],
    "fit": [("crop", 0.875), ("squash", 1.0), ("crop", 1.0), ("squash", 0.9)],
    "precision": ["float32", "bfloat16", "int8"],
    "pooling": ["own", "mean"],
}
# What a value moves; `late` gives what `bgr` gives, alpha is in the last image alone, the first is no JPEG. What int8
# moves is left to chance.
SIZES = {"bgr": 0.5, "late": 0.5, "half": 0.01, "black": 0.6, "dropped": 0.4, 95: 0.01, 75: 0.05, ("squash", 1.0): 0.3}
SIZES |= {("crop", 1.0): 0.2, ("squash", 0.9): 0.01, "bfloat16": 0.01, "mean": 0.8}
SHOWN = {"alpha": [IMAGES - 1], "decoder": range(1, IMAGES)}
PLACES = {"channels": 1, "alpha": 2, "jpeg": 3, "fit": 4, "precision": 5, "pooling": 6, "decoder": 7}


def vector(recipe, index):
    made = np.zeros(12)
    made[0] = 1.0
    for axis, place in PLACES.items():
        value = getattr(recipe, axis)
        if value in SIZES and index in SHOWN.get(axis, range(IMAGES)):
            made[place] = SIZES[value] * (1 + 0.1 * index)
    if recipe.precision == "int8":
        seed = zlib.crc32(repr((index, key(recipe, index))).encode())
        made += 0.1 * np.random.default_rng(seed).normal(size=12)
    return made / np.linalg.norm(made)


def key(recipe, index):
    channels = "bgr" if recipe.channels == "late" else recipe.channels
    blind = {axis: "" for axis, images in SHOWN.items() if index not in images}
    return dataclasses.replace(recipe, **({"channels": channels} | blind), precision="", pooling="")


def search_of(served):
    given = {"vector": vector, "key": key, "reference": REFERENCE, "axes": AXES, "passes": {}, "left": 1_000}
    made = SimpleNamespace(floor=lambda _: FLOOR, **given)
    return Search(made, served)


def served_by(**altered):
    return np.stack([vector(dataclasses.replace(REFERENCE, **altered), index) for index in range(IMAGES)])


def named(served):
    search = search_of(served)
    return dict(search.named(search.run()))


def turned(served, angle, place=9):
    """The same vectors, moved where no alteration moves them."""
    step = np.eye(served.shape[1])[place]
    return np.cos(angle) * served + np.sin(angle) * step


@pytest.mark.parametrize(
    "altered",
    [
        {},
        {"jpeg": 95},
        {"alpha": "dropped"},
        {"fit": ("squash", 1.0), "jpeg": 75},
        {"pooling": "mean", "fit": ("crop", 1.0), "jpeg": 95, "alpha": "black"},
        {"precision": "bfloat16", "fit": ("squash", 1.0)},
        {"precision": "int8", "fit": ("crop", 1.0), "alpha": "black"},
        {"precision": "int8", "jpeg": 95, "fit": ("squash", 0.9)},  # both smaller than what int8 moves
        {"precision": "int8", "jpeg": 95, "fit": ("squash", 0.9), "decoder": "half"},  # two in the first image
    ],
)
def test_alterations_are_named_at_the_floor(altered):
    assert named(served_by(**altered)) == {axis: [value] for axis, value in altered.items()}


def test_values_that_give_the_same_vectors_are_named_together():
    assert {axis: {*values} for axis, values in named(served_by(channels="bgr")).items()} == {
        "channels": {"bgr", "late"}
    }


@pytest.mark.parametrize(("left", "names"), [(0.05, {"fit"}), (0.12, set())])
def test_an_alteration_above_the_floor_is_named_only_where_leaving_it_out_is_ten_times_as_far(left, names):
    served = turned(served_by(fit=("squash", 1.0)), left)
    search = search_of(served)
    recipe = search.run()
    with_it, without = (search.distance(r, range(IMAGES)) for r in (recipe, REFERENCE))
    assert recipe.differences(REFERENCE) == ["fit"]
    assert (without >= 10 * with_it) == bool(names)
    assert {*named(served)} == names


def test_an_alteration_that_gains_less_than_a_tenth_is_dropped():
    served = turned(served_by(jpeg=95), 0.05)
    search = search_of(served)
    with_it = search.distance(REFERENCE.having("jpeg", 95), range(IMAGES))
    assert 1.03 * with_it < search.distance(REFERENCE, range(IMAGES)) < 1.1 * with_it
    assert search.run() == REFERENCE


def test_precision_is_named_at_the_floor_alone():
    served = served_by(precision="bfloat16")
    assert {*named(served)} == {"precision"}
    assert named(turned(served, 1e-3)) == {}


def test_walk_goes_down_and_ends_at_what_is_left():
    served = turned(served_by(pooling="mean", fit=("squash", 1.0), alpha="black"), 1e-3)
    search = search_of(served)
    path = [*search.walk(search.named(search.run()))]
    distances = [search.distance(REFERENCE, range(IMAGES)), *(after for _, after in path)]
    assert path[0][0][0] == "pooling"
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] == pytest.approx(5e-7, rel=1e-3)  # half of the square of the angle


def test_every_value_has_words():
    axes = axes_of(REFERENCE, {})
    said = [words(REFERENCE.having(axis, value), axis) for axis, values in axes.items() for value in values[1:]]
    assert len({*said}) == len(said)
    undone = [change(REFERENCE, axis) for axis in axes]
    assert len({*undone}) == len(undone) == len(dataclasses.fields(Recipe))
    fits = {fit: words(REFERENCE.having("fit", fit), "fit") for fit in axes["fit"]}
    assert fits["crop", 1.0] == "resized to a shorter side of 224, then cropped to 224"
    assert fits["crop", 0.9] == "resized to a shorter side of 249, then cropped to 224"
    assert fits["squash", 0.875] == "resized to 256 x 256, then cropped to 224"
    assert fits["squash", 1.0] == "squashed"
    assert change(REFERENCE, "fit") == "resize the shorter side to 256, then crop 224"


@pytest.mark.parametrize("moved", [0.02, 0.045])
def test_a_jpeg_is_named_beside_rounded_weights(moved):
    """What is left is a fifth of what the JPEG moves: another step would not be named."""
    served = turned(served_by(jpeg=75, fit=("squash", 1.0)), moved)
    search = search_of(served)
    with_it, without = (search.distance(search.run().having("jpeg", value), range(IMAGES)) for value in (75, None))
    assert ("jpeg" in named(served)) == (without > 4 * with_it)
    assert without < 10 * with_it or moved < 0.03


def test_a_list_of_candidates_ends_where_the_encodings_are_spent():
    most, asked = 4, set()

    def counted(recipe, index):
        asked.add((key(recipe, index), recipe.precision))
        return vector(recipe, index)

    class Spending(SimpleNamespace):
        left = property(lambda _: max(0, most - len(asked)))

    made = Spending(vector=counted, key=key, reference=REFERENCE, axes=AXES, floor=lambda _: FLOOR, passes={})
    Search(made, served_by(fit=("crop", 1.0))).run()
    assert most <= len(asked) <= most + IMAGES  # the reference's own are made anyway
