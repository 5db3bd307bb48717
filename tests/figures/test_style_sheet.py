"""The style sheet: one truth with the package's figures, found by matplotlib under its name, and in the wheel."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest

from embedshift.figures import style

NAME = "embedshift.figures.embedshift"
SHEET = Path(style.__file__).with_name("embedshift.mplstyle")


def written():
    """The sheet's own lines, read without matplotlib."""
    lines = [line.partition(":") for line in SHEET.read_text().splitlines() if line and not line.startswith("#")]
    return {key: value.strip() for key, _, value in lines}


def test_matplotlib_finds_it_by_its_name():
    with plt.style.context(["default", NAME]):
        assert {key: matplotlib.rcParams[key] for key in style.STYLE} == dict(style.STYLE)
        assert matplotlib.rcParams["axes.spines.top"] is False
        colours = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
    assert tuple(colours) == style.PALETTE
    assert len(set(colours)) == 20


def test_the_figures_take_their_colours_from_it():
    lines = written()
    assert set(lines) == set(style.STYLE)
    assert f"#{lines['text.color']}" == style.INK
    assert f"#{lines['axes.edgecolor']}" == style.MUTED
    assert f"#{lines['grid.color']}" == style.FAINT
    assert lines["image.cmap"] == style.COLOUR_MAP
    assert tuple(f"#{each}" for each in re.findall(r"\"([0-9A-F]{6})\"", lines["axes.prop_cycle"])) == style.PALETTE
    assert (style.INK, style.MUTED, style.FAINT, style.PALETTE[0]) == ("#1f1f1f", "#6b6b6b", "#e4e4e4", "#D55E00")
    with style.context():
        assert matplotlib.rcParams["axes.titlelocation"] == "left"


@pytest.mark.slow
def test_it_is_in_the_wheel(tmp_path):
    pytest.importorskip("hatchling")  # of the extra `dev`: without it the wheel takes a network to be built
    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, root],
        check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    assert "embedshift/figures/embedshift.mplstyle" in zipfile.ZipFile(wheel).namelist()
