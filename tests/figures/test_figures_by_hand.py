"""Small cases worked by hand."""

import numpy as np
from matplotlib.figure import Figure

from embedshift.figures import output, shared, style
from embedshift.questions.embedding import figures as ruler
from embedshift.report.section import address
from embedshift.statistics.strengths import MeasuredFamily


def test_images_overlay():
    assert shared.overlay(np.zeros((4, 4, 3), np.uint8), np.eye(2, dtype=np.float32)).shape == (4, 4, 3)


def test_render_render():
    files = output.render(Figure((1, 1)), ["png", "svg"])
    assert (files["png"][1:4], files["svg"][:5]) == (b"PNG", b"<?xml")


def test_render_address():
    assert address(b"abc", "image/webp") == "data:image/webp;base64,YWJj"


def test_scale_marks():
    assert ruler.ruler_marks(0.5) == {
        0.0: ("same", "image"),
        1.0: ("another", "image"),
        0.5: ("nearest", "other image"),
    }
    assert list(ruler.ruler_marks(0.9)) == [0.0, 1.0]


def test_scale_ends():
    assert (ruler.ruler_ends(0.1, 0.4), ruler.ruler_ends(-0.5, 2.0)) == ((-0.02, 1.12), (-0.5, 2.24))


def test_scale_nearest_of():
    assert (ruler.nearest_of(8), ruler.nearest_of(13312)) == ("other image", "of 512 images")


def test_style_colours():
    assert style.colours(["original", "noise", "blur"]) == {
        "original": "#6b6b6b",
        "noise": "#D55E00",
        "blur": "#0072B2",
    }


def test_style_contrast():
    assert style.contrast("black", "white") == 21.0


def test_style_readable():
    assert (style.readable("#0072B2"), style.readable("#E69F00")) == ("#0072b2", "#996a00")


def test_style_human():
    assert (style.human("shift_scale_rotate"), style.human("abcdefghij", 7)) == ("shift scale rotate", "abc…hij")


def test_style_verbatim():
    assert (style.verbatim("my_model"), style.verbatim("abcdefghij", 7)) == ("my_model", "abc…hij")


def test_style_metric_label():
    assert style.metric_label("attention_similarity") == "attention similarity (1 = no change)"


def test_style_number():
    assert (style.number(0.98765), style.number(float("nan"))) == ("0.988", "n/a")


def test_style_wrap():
    assert style.wrap("brightness contrast", 0.8) == "brightness\ncontrast"


def test_style_column_names():
    assert style.column_names(["coarse_dropout", "noise"], 0.6)[:2] == (["coarse\ndropout", "noise"], False)


def test_tolerances_level_of():
    assert shared.level_position(MeasuredFamily("jpeg", "quality", 100, (80, 50), ("jpeg@1", "jpeg@2")), 65.0) == 1.5
