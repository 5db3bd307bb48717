"""A question's contribution to the page: its section, answer and charts, and what shows charts and images in them."""

import base64
import html
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib
import numpy as np
from PIL import Image

from embedshift.arrays import Floats, Pixels, Values
from embedshift.config import Json
from embedshift.figures import FigureInput, FigureKind
from embedshift.registry import Question
from embedshift.store.info import StudyInfo
from embedshift.store.reader import Reader
from embedshift.store.shards import ShardRecord

Plot = Json

# Pixels of a row of an interactive chart.
ROW_PIXELS = 34
NEUTRAL = "#808794"
# A map with more cells is reduced to this side, because a thumbnail cannot show more.
HEAT_SIDE = 32
HEAT_COLOURS = "inferno"


@dataclass(frozen=True)
class EmbeddedFigure:
    """A figure of the page, with its `data:` address and its size in pixels of CSS."""

    kind: FigureKind
    address: str
    width: int
    height: int


@dataclass(frozen=True)
class PageInput:
    """The input of sections."""

    data: FigureInput
    encoder: str
    figures: Mapping[str, EmbeddedFigure]
    records: Sequence[ShardRecord]
    is_papers: bool = False  # its figures and claims are not the last sections

    @property
    def reader(self) -> Reader:
        """The study."""
        return self.data.reader

    @property
    def info(self) -> StudyInfo:
        """The content of study.json."""
        return self.data.reader.info


@dataclass(frozen=True)
class Section:
    """A part of the page with its own heading."""

    id: str
    title: str
    content: Mapping[str, Any] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    is_last: bool = False


@dataclass(frozen=True)
class Chart:
    """An interactive chart: plotly's `data` and `layout`, of sums, so that it does not grow with the images."""

    id: str
    title: str
    plot: Plot


@dataclass(frozen=True)
class Answer:
    """A question's answer: one sentence, and the reasons behind it."""

    title: str
    content: Mapping[str, Any]
    covers_all_levels: bool = False


@dataclass(frozen=True)
class Part:
    """A question's part of the page; its `section.py` has one named `PART`.

    Args:
        section: Function that returns the section; None if the study has nothing to show.
        charts: Function that yields charts for the section of charts.
        answer: Function that returns the answer below the first screen; None if the study has none.
        misses: Function that returns what the first screen shows beside the changes, for its template `misses.html.j2`.
        terms: Terms of its section → their meaning, for the glossary.
        corrected: Statements of its section → what they are corrected for, if several are made at once.
    """

    section: Callable[[PageInput], Section | None] | None = None
    charts: Callable[[PageInput], Iterator[Chart]] | None = None
    answer: Callable[[PageInput], Answer | None] | None = None
    misses: Callable[[PageInput], Json | None] | None = None
    terms: Mapping[str, str] = field(default_factory=dict)
    corrected: Mapping[str, str] = field(default_factory=dict)


def parts_of_page(questions: Sequence[Question]) -> Iterator[tuple[Question, Part]]:
    """Yields the questions that have a part of the page, each with its part."""
    for question in questions:
        module = question.part("section")
        if module is not None:
            yield question, module.PART


def chart_layout(count: int, title: str, labels: Sequence[str]) -> Plot:
    """Returns plotly's layout of a chart with `count` labelled rows, whose horizontal axis has a title."""
    axis: Plot = {"zeroline": False, "automargin": True, "fixedrange": False}
    return {
        "height": 96 + ROW_PIXELS * count,
        "margin": {"l": 8, "r": 16, "t": 24, "b": 48},
        "xaxis": axis | {"title": {"text": title, "font": {"size": 12}}},
        "yaxis": axis
        | {"tickvals": list(range(len(labels))), "ticktext": list(labels), "range": [count - 0.7, -1.05],
           "fixedrange": True, "ticks": "outside", "ticklen": 9, "tickcolor": "rgba(0,0,0,0)"},
        "showlegend": False,
    }  # fmt: skip


def escaped(name: str) -> str:
    """Escapes a name, because plotly interprets some HTML in labels."""
    return html.escape(name, quote=False)


def short(values: Values) -> list[float | None]:
    """Returns numbers with five significant figures; None for NaN, which gives a gap."""
    return [None if np.isnan(value) else float(f"{value:.5g}") for value in values]


def address(data: bytes, kind: str) -> str:
    """Returns the bytes as a `data:` address of MIME type `kind`."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def shrink(image: Pixels, side: int) -> Pixels:
    """Shrinks an image so that its longer side has at most `side` pixels, uint8 `[h, w, 3]`."""
    small = Image.fromarray(image)
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(small)


def webp(image: Pixels, quality: int) -> bytes:
    """Encodes an image, uint8 `[h, w, 3]` or `[h, w, 4]`, as WebP; quality 100 is lossless."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "WEBP", quality=quality, method=2, lossless=quality == 100)
    return buffer.getvalue()


def panel(title: str, image: str, pixels: Pixels, side: int, quality: int) -> Json:
    """Returns a small image for the macro `panels`: its title, its `data:` address, and a text in its place."""
    return {
        "title": title,
        "address": address(webp(shrink(pixels, side), quality), "image/webp"),
        "alt": f"{title}: {image}",
    }


def heat(attention: Floats) -> Pixels:
    """Returns an attention map as a layer of warm colours: the more attention, the more opaque."""
    low, high = float(attention.min()), float(attention.max())
    scaled = (attention - low) / (high - low) if high > low else np.zeros_like(attention)
    rows, columns = (min(HEAT_SIDE, side) for side in scaled.shape)
    if (rows, columns) != scaled.shape:
        small = Image.fromarray(scaled.astype(np.float32)).resize((columns, rows), Image.Resampling.BILINEAR)
        scaled = np.clip(np.asarray(small), 0, 1)
    pixels = matplotlib.colormaps[HEAT_COLOURS](0.25 + 0.75 * scaled, bytes=True)
    pixels[..., 3] = np.round(230 * scaled)
    return np.asarray(pixels, np.uint8)
