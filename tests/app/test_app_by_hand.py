"""Small cases worked by hand."""

from embedshift.app import changes, start, words
from embedshift.app import points as points_module
from embedshift.app.measured import Scale


def test_changes_all_changes():
    assert (
        list(changes.all_changes())[:2],
        "corruptions: fog" in changes.all_changes(),
        "paper: noise" in changes.all_changes(),
    ) == (["strength: noise", "strength: blur"], True, True)


def test_points_axis_label():
    assert points_module.axis_label("l2_distance") == "L2 distance (0 = no change)"


def test_start_scale_in_words():
    from embedshift.statistics.baselines import Baseline

    assert (
        str(start.scale_in_words(Scale(Baseline(0.25, 0.01), "the 24 images")))
        == "A relative shift of 1 is two different images: cosine 0.250, the mean over all pairs of the 24 images."
    )


def test_words_message():
    assert (
        repr(words.message("<b>.png: the file is empty", is_error=True))
        == 'Markup(\'<p class="error" role="alert">&lt;b&gt;.png: the file is empty</p>\')'
    )


def test_words_shift_in_words():
    assert words.shift_in_words(0.31) == "The embedding moved 31.0 % of the distance to another image."
