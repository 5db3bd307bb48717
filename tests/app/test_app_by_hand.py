"""Small cases worked by hand."""

import numpy as np

from embedshift.app import among as among_module
from embedshift.app import changes, html, server, start
from embedshift.app import points as points_module
from embedshift.app.among import Place
from embedshift.app.look import Scale
from embedshift.augmentations.family import FAMILIES
from support.examples import fits


def test_among_among():
    among = among_module.Among(["a", "b"], np.array([[1, 0], [0, 1]]), ["x", "y"])
    assert fits(
        "Place(rank=1, of=3, nearest='a', cosine=0.7432..., known='')",
        repr(among.find(np.array([1.0, 1.0]), np.array([1.0, 0.9]))),
    )


def test_changes_change():
    jpeg = changes.Change("strength: jpeg", FAMILIES["jpeg"])
    assert (jpeg.range, jpeg.first, jpeg.words(25)) == ((5.0, 100.0, 1.0), 25, "quality 25")


def test_changes_all_changes():
    assert (
        list(changes.all_changes())[:2],
        "corruptions: fog" in changes.all_changes(),
        "paper: noise" in changes.all_changes(),
    ) == (["strength: noise", "strength: blur"], True, True)


def test_html_note():
    assert (
        repr(html.note("<b>.png: the file is empty", "error"))
        == 'Markup(\'<p class="line error" role="alert">&lt;b&gt;.png: the file is empty</p>\')'
    )


def test_html_in_words():
    assert (html.in_words(0.0), html.in_words(0.31)) == (
        "the embedding did not move.",
        "the embedding moved 31.0 % of the distance to another image.",
    )
    assert html.in_words(1.2) == "the embedding moved further than another image lies."


def test_html_found():
    assert fits(
        "A search among ... (25 images) <b>finds it at place 3</b>. The nearest other image is <q>&lt;b&gt;.png</q>, ...",
        str(html.found(Place(3, 25, "<b>.png", 0.81))),
    )


def test_html_percent():
    assert (html.percent(0.5, 0.0, 2.0), html.percent(0.5, 2.0, 0.0)) == ("25.00%", "75.00%")


def test_points_axis_label():
    assert (points_module.axis_label("relative_shift"), points_module.axis_label("l2_distance")) == (
        "relative shift",
        "L2 distance (0 = no change)",
    )


def test_server_take_port():
    with server.take_port(None) as taken, server.take_port(None) as other:
        taken.getsockname()[1] != other.getsockname()[1]
    # UNCONVERTED 'True'


def test_start_scale_in_words():
    from embedshift.statistics.baselines import Baseline

    assert (
        str(start.scale_in_words(Scale(Baseline(0.25, 0.01), "the 24 images of the study")))
        == "1 on the ruler is the mean cosine of two different images, 0.250, over all pairs of the 24 images of the study."
    )
