"""Views: seeds by the written formula, equal bytes everywhere, and the order in which a study draws them."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import embedshift
from embedshift import EmbedshiftError
from embedshift.augmentations import load_suite
from embedshift.augmentations.views import draw_views, make_views, view_seed
from embedshift.sources import images
from support.processes import run_python

NAMES = (
    "noise", "blur", "color_jitter", "shift_scale_rotate", "horizontal_flip", "elastic", "perspective",
    "brightness_contrast", "coarse_dropout",
)  # fmt: skip
PICTURE = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)


def formula(seed, image_id, augmentation, draw):
    """The rule of the docs, written again: BLAKE2b of the four, four bytes, the first byte the highest."""
    content = str(seed).encode() + b"|" + image_id.encode("utf-8", "surrogateescape") + b"|" + augmentation.encode()
    first, second, third, fourth = hashlib.blake2b(content + b"|" + str(draw).encode(), digest_size=4).digest()
    return ((first * 256 + second) * 256 + third) * 256 + fourth


@pytest.mark.parametrize("image_id", ["a.jpg", "sub/b c.png", "Ünï|✓'\".jpg", "caf\udce9.jpg", ""])
def test_seeds_follow_the_formula_of_all_four(image_id):
    seeds = [(seed, image_id, name, draw) for name in NAMES for seed, draw in ((0, 0), (2**40, 0), (0, 11))]
    assert [view_seed(*four) for four in seeds] == [formula(*four) for four in seeds]
    assert len({view_seed(*four) for four in [*seeds, (0, "b.jpg", "noise", 0)]}) == 3 * 9 + 1


def test_order_and_layout_of_the_drawn_views():
    suite = load_suite("paper")
    views, seeds = draw_views(PICTURE, "a.jpg", suite, seed=3, draws=2)
    assert (views.shape, views.dtype, suite.names) == ((19, 48, 48, 3), np.uint8, NAMES)
    np.testing.assert_array_equal(views[0], PICTURE)
    assert seeds == [0] + [formula(3, "a.jpg", name, draw) for draw in range(2) for name in NAMES]
    for index, (draw, name) in enumerate([(draw, name) for draw in range(2) for name in NAMES], start=1):
        np.testing.assert_array_equal(views[index], suite[name].draw(PICTURE, formula(3, "a.jpg", name, draw)))
        assert (views[index] != PICTURE).any(), name
    same = {name for name, one, two in zip(NAMES, views[1:10], views[10:], strict=True) if (one == two).all()}
    assert same == {"horizontal_flip"}, "draws differ"


def test_a_view_does_not_depend_on_what_was_drawn_before():
    suite = load_suite("paper")
    alone = {(i, name): load_suite("paper")[name].draw(PICTURE, view_seed(0, f"{i}", name, 0)) for i in range(3) for name in NAMES}  # fmt: skip  # noqa: E501
    np.random.seed(1)  # noqa: NPY002 - the global state must not matter
    for i, name in sorted(alone, key=lambda key: hashlib.sha256(repr(key).encode()).hexdigest()):
        np.testing.assert_array_equal(suite[name].draw(PICTURE, view_seed(0, f"{i}", name, 0)), alone[i, name])
    few = load_suite({name: suite[name].transform for name in ("perspective", "noise")})
    for name in few.names:
        np.testing.assert_array_equal(few[name].draw(PICTURE, view_seed(0, "1", name, 0)), alone[1, name])


def digests(suites):
    """sha256 of all views of these suites, of which the last are drawn first."""
    found = {}
    for suite in suites:
        views = make_views(PICTURE, image_id="a b.jpg", seed=4, size=40, augmentations=suite)
        found[suite] = {name: hashlib.sha256(view.tobytes()).hexdigest() for name, view in reversed(views.items())}
    return found


@pytest.mark.matrix
@pytest.mark.slow
def test_bytes_are_equal_in_another_process_that_has_no_torch():
    text = """
        import json, sys
        sys.path[:0] = sys.argv[2:]
        from test_augmentations import digests
        print(json.dumps([digests(json.loads(sys.argv[1])), sorted({"torch", "transformers"} & {*sys.modules})]))
    """
    suites, here = ["strength", "everyday", "style", "corruptions", "paper"], Path(__file__).parent
    there, heavy = json.loads(run_python(text, json.dumps(suites), str(here), str(here.parent)))
    assert there == digests(suites[::-1])
    assert heavy == []


def test_make_views_gives_what_a_study_draws():
    picture = np.random.default_rng(1).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    for how in ("squash", "crop"):
        original = images.ToInput(32, how)(picture)
        drawn, _ = draw_views(original, "x/y.png", load_suite("paper"), seed=9, draws=3)
        for draw in range(3):
            views = embedshift.make_views(picture, image_id="x/y.png", seed=9, size=32, resize=how, draw=draw)
            assert tuple(views) == ("original", *NAMES)
            np.testing.assert_array_equal(views.pop("original"), drawn[0])
            np.testing.assert_array_equal(np.stack(list(views.values())), drawn[1 + 9 * draw : 10 + 9 * draw])


@pytest.mark.parametrize("picture", [PICTURE[..., 0], PICTURE / 1, np.dstack([PICTURE, PICTURE[..., :1]]), [[0]]])
def test_make_views_refuses_what_is_no_rgb_picture(picture):
    with pytest.raises(EmbedshiftError, match="RGB uint8"):
        make_views(picture, image_id="a.jpg")
