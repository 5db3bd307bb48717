"""The common style of all figures: colours, type, names, and the caption line."""

import io
import textwrap
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patheffects import withStroke

from embedshift.augmentations import ORIGINAL
from embedshift.config import Json
from embedshift.registry import METRICS

# The style sheet, which `plt.style.use("embedshift.figures.embedshift")` reads too.
_SHEET = Path(__file__).with_name("embedshift.mplstyle")
STYLE: Json = dict(matplotlib.rc_params_from_file(_SHEET, use_default_template=False).items())

INK: str = STYLE["text.color"]
MUTED: str = STYLE["axes.edgecolor"]
FAINT: str = STYLE["grid.color"]

# Okabe and Ito's colours without their yellow, which vanishes on white, and two of Paul Tol's: nine that stay apart
# with normal sight and with each of the three kinds of colour blindness. Then eleven more, apart for normal sight.
PALETTE: tuple[str, ...] = tuple(STYLE["axes.prop_cycle"].by_key()["color"])

# Uniform in lightness, and read the same by colour-blind readers and in grey.
COLOUR_MAP: str = STYLE["image.cmap"]

CAPTION_SIZE = 7.5
# Inches: a line of the caption, and the margin around a figure.
_LINE, _MARGIN = 0.145, 0.06


class ShownFigure(Figure):
    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        with context():
            self.savefig(content := io.BytesIO(), format="png", dpi=2 * 96)  # two pixels for each of CSS
        return content.getvalue(), {"width": round(96 * self.get_figwidth())}


def context() -> AbstractContextManager[None]:
    style: AbstractContextManager[None] = matplotlib.style.context(["default", STYLE])
    return style


def colours(names: Sequence[str]) -> dict[str, str]:
    augmentations = [name for name in names if name != ORIGINAL]
    palette = {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(augmentations)}
    return {name: palette.get(name, MUTED) for name in names}


def contrast(colour: Any, other: Any) -> float:
    luminances = []
    for rgb in (to_rgb(colour), to_rgb(other)):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
        luminances.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)
    return round(max(luminances) / min(luminances), 6)


def readable(colour: str) -> str:
    """Returns the colour darkened for text on white, to a contrast of 4.5."""
    while contrast(colour, "white") < 4.5:
        red, green, blue = to_rgb(colour)
        colour = to_hex((0.96 * red, 0.96 * green, 0.96 * blue))
    return to_hex(colour)


def human(name: str, most: int = 30) -> str:
    """Formats a name for readers; a long one loses its middle, because names differ at both ends."""
    # A dollar sign would start mathematics.
    text = name.replace("_", " ").replace("$", r"\$")
    return text if len(text) <= most else f"{text[: most // 2]}…{text[len(text) - (most - 1) // 2 :]}"


def verbatim(name: str, most: int = 30) -> str:
    return human(name.replace("_", "\0"), most).replace("\0", "_")


def metric_label(metric: str) -> str:
    definition = METRICS[metric]
    return f"{definition.label} ({definition.no_change:g} = no change)"


def number(value: float) -> str:
    return "n/a" if np.isnan(value) else f"{value:.3f}"


def wrap(text: str, inches: float, size: float = 8, *, bold: bool = False) -> str:
    return "\n".join(textwrap.wrap(text, max(4, int(inches * 72 / ((0.67 if bold else 0.56) * size)))))


def new_figure(caption: str, width: float, height: float, title: str) -> Figure:
    width = max(width, 3.6)
    lines = wrap(caption, width, CAPTION_SIZE)
    foot = _LINE * (lines.count("\n") + 1) + 2 * _MARGIN
    total_height = height + foot
    figure = ShownFigure(figsize=(width, total_height))
    figure.set_layout_engine(
        ConstrainedLayoutEngine(
            rect=(_MARGIN / width, foot / total_height, 1 - 2 * _MARGIN / width, 1 - foot / total_height)
        )
    )
    figure.suptitle(wrap(title, width, 10, bold=True), x=2 * _MARGIN / width, ha="left", fontsize=10, fontweight="bold")
    corner = 2 * _MARGIN / width, _MARGIN / total_height
    figure.text(*corner, lines, fontsize=CAPTION_SIZE, color=MUTED, va="bottom", linespacing=1.3).set_gid("caption")
    return figure


def column_names(names: Sequence[str], inches: float) -> tuple[list[str], bool, float]:
    shown = [human(name) for name in names]
    upright = any(len(word) > inches * 72 / (0.56 * 8) for text in shown for word in text.split())
    if upright:
        return shown, True, max(map(len, shown)) * 0.56 * 8 / 72
    words = [wrap(text, inches) for text in shown]
    return words, False, (max(text.count("\n") for text in words) + 1) * 0.15


def halo() -> list[Any]:
    return [withStroke(linewidth=2.5, foreground="white")]
