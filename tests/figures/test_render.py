"""A figure's bytes: laid out once for all formats, and the same every time."""

import base64
import io
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from embedshift.figures import output, style
from embedshift.figures.output import DPI, render

pytestmark = pytest.mark.slow

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


@pytest.mark.parametrize("photo", [False, True])
def test_png_has_the_pixels_that_matplotlib_saves(photo):
    ours = render(figure(photo=photo), ["png", "svg"])["png"]
    buffer = io.BytesIO()
    with style.context():
        figure(photo=photo).savefig(buffer, format="png", dpi=DPI)
    assert np.array_equal(pixels(ours), pixels(buffer.getvalue()))
    assert Image.open(io.BytesIO(ours)).info["dpi"] == pytest.approx((DPI, DPI), abs=0.1)


def test_the_figure_is_left_as_it_was():
    made = figure()
    before = made.dpi, made.canvas, made.get_layout_engine()
    assert render(made, ["png"]) == render(made, ["png"])
    assert (made.dpi, made.canvas, made.get_layout_engine()) == before


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


def test_the_last_digits_of_a_layout_change_no_byte():
    """The solver of the layout adds up in the order of memory addresses."""

    def files(shift):
        figure = Figure(figsize=(3, 2))
        figure.add_axes((0.123456789 + shift, 0.2, 0.7, 0.6)).plot([1, 2, 3], [3, 1, 2])
        return render(figure, ["svg", "png"])

    assert files(0.0) == files(1e-13)


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
