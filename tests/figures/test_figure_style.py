"""The style of all figures: one sheet that matplotlib finds by its name, colours that stay apart, names that fit."""

import re
from itertools import combinations
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from embedshift.figures import shared, style
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
