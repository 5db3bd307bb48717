"""The style of all figures: a sheet that matplotlib finds, colours that stay apart, names that fit; and their bytes."""

import base64
import io
import re
from itertools import combinations
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

from embedshift.figures import output, shared, style
from embedshift.figures.output import DPI, render
from embedshift.figures.style import PALETTE
from embedshift.questions.embedding import figures as ruler
from embedshift.statistics.strengths import MeasuredFamily

NAME = "embedshift.figures.embedshift"
SHEET = Path(style.__file__).with_name("embedshift.mplstyle")
# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
BLINDNESS = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def test_matplotlib_finds_the_sheet_by_its_name_and_the_figures_take_their_colours_from_it():
    with plt.style.context(["default", NAME]):
        assert {key: matplotlib.rcParams[key] for key in style.STYLE} == dict(style.STYLE)
        assert matplotlib.rcParams["axes.spines.top"] is False
    lines = [line.partition(":") for line in SHEET.read_text().splitlines() if line and not line.startswith("#")]
    written = {key: value.strip() for key, _, value in lines}
    assert set(written) == set(style.STYLE)
    named = [f"#{written[key]}" for key in ("text.color", "axes.edgecolor", "grid.color")]
    assert named == [style.INK, style.MUTED, style.FAINT] == ["#1f1f1f", "#6b6b6b", "#e4e4e4"]
    assert written["image.cmap"] == style.COLOUR_MAP
    assert tuple(f"#{each}" for each in re.findall(r"\"([0-9A-F]{6})\"", written["axes.prop_cycle"])) == PALETTE
    with style.context():
        assert matplotlib.rcParams["axes.titlelocation"] == "left"


def seen_by(kind, colours):
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.array(BLINDNESS[kind]).T, 0, 1)
    return rgb2lab(np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)[None])[0]


@pytest.mark.parametrize(("kind", "count"), [("none", 20), ("protan", 9), ("deutan", 9), ("tritan", 9)])
def test_colours_can_be_told_apart(kind, count):
    lab = seen_by(kind, PALETTE[:count])
    assert min(deltaE_ciede2000(a, b) for a, b in combinations(lab, 2)) > 10
    assert len(set(PALETTE)) == 20


def test_coloured_names_can_be_read_on_white():
    assert style.contrast("black", "white") == 21.0
    assert all(style.contrast(style.readable(colour), "white") >= 4.5 for colour in PALETTE)
    assert (style.readable("#0072B2"), style.readable("#E69F00")) == ("#0072b2", "#996a00")


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (style.human("shift_scale_rotate"), "shift scale rotate"),
        (style.human("abcdefghij", 7), "abc…hij"),
        (style.verbatim("my_model"), "my_model"),
        (style.verbatim("abcdefghij", 7), "abc…hij"),
        (style.metric_label("attention_similarity"), "attention similarity (1 = no change)"),
        (style.number(0.98765), "0.988"),
        (style.number(float("nan")), "n/a"),
        (style.wrap("brightness contrast", 0.8), "brightness\ncontrast"),
        (style.column_names(["coarse_dropout", "noise"], 0.6)[:2], (["coarse\ndropout", "noise"], False)),
        (style.column_names(["coarse_dropout"], 0.3)[1], True),
        (list(ruler.ruler_marks(0.5)), [0.0, 1.0, 0.5]),
        (list(ruler.ruler_marks(0.9)), [0.0, 1.0]),
        ((ruler.ruler_ends(0.1, 0.4), ruler.ruler_ends(-0.5, 2.0)), ((-0.02, 1.12), (-0.5, 2.24))),
        ((ruler.nearest_of(8), ruler.nearest_of(13312)), ("other image", "of 512 images")),
        (shared.level_position(MeasuredFamily("jpeg", "quality", 100, (80, 50), ("jpeg@1", "jpeg@2")), 65.0), 1.5),
    ],
)
def test_names_numbers_and_places(made, wanted):
    assert made == wanted


# A figure's bytes: laid out once for all formats, and the same every time.

PHOTO = np.random.default_rng(0).integers(0, 255, (64, 48, 3), np.uint8).repeat(4, 0).repeat(4, 1)


def figure(title="a title", photo=False):
    with style.context():
        made = style.new_figure("caption", 4, 3, title)
        axes = made.subplots()
        if photo:
            axes.imshow(PHOTO)
        else:
            axes.plot([0, 1], [0, 1])
    return made


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


@pytest.mark.slow
@pytest.mark.parametrize("photo", [False, True])
def test_png_has_the_pixels_that_matplotlib_saves(photo):
    ours = render(figure(photo=photo), ["png", "svg"])["png"]
    buffer = io.BytesIO()
    with style.context():
        figure(photo=photo).savefig(buffer, format="png", dpi=DPI)
    assert np.array_equal(pixels(ours), pixels(buffer.getvalue()))
    assert Image.open(io.BytesIO(ours)).info["dpi"] == pytest.approx((DPI, DPI), abs=0.1)


@pytest.mark.slow
def test_the_figure_is_left_as_it_was():
    made = figure()
    before = made.dpi, made.canvas, made.get_layout_engine()
    assert render(made, ["png"]) == render(made, ["png"])
    assert (made.dpi, made.canvas, made.get_layout_engine()) == before


@pytest.mark.slow
def test_photograph_in_svg_is_where_the_png_has_it():
    files = render(figure(photo=True), ["png", "svg"])
    text = files["svg"].decode()
    [place] = re.findall(r"<image [^>]*>", text)
    found = dict(re.findall(r'([a-zA-Z:]+)="([^"]*)"', place))
    assert found["xlink:href"].startswith("data:image/jpeg;base64,")
    jpeg = np.asarray(Image.open(io.BytesIO(base64.b64decode(found["xlink:href"].partition(",")[2]))), np.float64)
    left, top, width, height = (float(found[key]) * DPI / 72 for key in ("x", "y", "width", "height"))
    assert (jpeg.shape[1], jpeg.shape[0]) == pytest.approx((width, height), abs=0.01)
    top, left = round(top), round(left)
    shown = pixels(files["png"])[top : top + jpeg.shape[0], left : left + jpeg.shape[1]].astype(np.float64)
    inside = np.s_[8:-8, 8:-8]
    assert np.corrcoef(jpeg[inside].ravel(), shown[inside].ravel())[0, 1] > 0.95


@pytest.mark.slow
def test_the_last_digits_of_a_layout_change_no_byte():
    """The solver of the layout adds up in the order of memory addresses."""

    def files(shift):
        figure = Figure(figsize=(3, 2))
        figure.add_axes((0.123456789 + shift, 0.2, 0.7, 0.6)).plot([1, 2, 3], [3, 1, 2])
        return render(figure, ["svg", "png"])

    assert files(0.0) == files(1e-13)


@pytest.mark.slow
def test_labels_without_words_change_no_byte(monkeypatch):
    def files():
        figure = Figure(figsize=(5, 4), layout="constrained")
        named, empty = figure.subplots(1, 3, sharey=True)[:2]
        named.set(title="name", xlabel="words", ylabel="words")
        empty.secondary_xaxis("top").set_xlabel("words")
        figure.colorbar(empty.pcolormesh([[1, 2], [3, 4]]), ax=empty, label="words")
        figure.add_subplot(133, projection="polar").set_title("round")
        return render(figure, ["png", "svg"])

    ours = files()
    monkeypatch.setattr(output, "_place_empty_labels", lambda figure: None)
    assert ours == files()
