"""The paper's figures inside the page: sharp where they are small, as pictures where not, within a budget."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from embedshift.figures import FigureKind, style
from embedshift.figures.output import DPI
from embedshift.report.images import address, webp_of

# Share of the side at 200 dpi, and WebP quality (100 = lossless), best first: the first that fits is taken.
STEPS = ((1.0, 100), (1.0, 85), (0.75, 75), (0.5, 65), (0.4, 50), (0.3, 35))


@dataclass(frozen=True)
class DrawnFigure:
    """A figure of the paper as it was saved.

    Args:
        kind: Which one.
        inches: Width and height.
        png: Its bytes at 200 dpi.
        svg: Its bytes; None where it holds photographs, which are too large in there.
    """

    kind: FigureKind
    inches: tuple[float, float]
    png: bytes
    svg: bytes | None


@dataclass(frozen=True)
class EmbeddedFigure:
    """A figure as the page holds it.

    Args:
        name: As `FigureKind.name`.
        number: The paper's, or one beyond it.
        title: One line.
        address: A `data:` address.
        width: In CSS pixels.
        height: In CSS pixels.
        wide: Whether it wants the whole width.
        section: Whether it stands in the section of its question.
    """

    name: str
    number: str
    title: str
    address: str
    width: int
    height: int
    wide: bool
    section: bool


def drawn(kind: FigureKind, figure: Figure, saved: Mapping[str, Path]) -> DrawnFigure:
    """The figure ready to embed; what was `saved` already (ending → file) is not drawn again."""
    width, height = figure.get_size_inches()
    svg = None if kind.shows_images else _content(figure, "svg", saved)
    return DrawnFigure(kind, (float(width), float(height)), _content(figure, "png", saved), svg)


def embed(figures: Sequence[DrawnFigure], budget: int) -> tuple[list[EmbeddedFigure], int]:
    """The figures in the order of the paper, and the number of those that did not fit.

    Args:
        figures: The figures.
        budget: Most bytes that all of them together may take as `data:` addresses.
    """
    left = budget
    done: list[tuple[str, EmbeddedFigure]] = []
    # Line drawings are small: what they leave goes to those with photographs.
    for place, one in enumerate(sorted(figures, key=lambda each: each.svg is None)):
        share = left // (len(figures) - place)
        found = next((text for text in _encodings(one) if len(text) <= share), None)
        if found is not None:
            left -= len(found)
            width, height = (round(96 * inches) for inches in one.inches)
            kind, number = one.kind, one.kind.number
            shown = (kind.name, number.lstrip("0"), kind.title, found, width, height, kind.shows_images, kind.section)
            done.append((number, EmbeddedFigure(*shown)))
    return [shown for _, shown in sorted(done, key=lambda pair: pair[0])], len(figures) - len(done)


def _content(figure: Figure, ending: str, saved: Mapping[str, Path]) -> bytes:
    if ending in saved:
        return saved[ending].read_bytes()
    buffer = io.BytesIO()
    with style.context():
        figure.savefig(buffer, format=ending, dpi=DPI)
    return buffer.getvalue()


def _encodings(one: DrawnFigure) -> Iterator[str]:
    if one.svg is not None:
        yield address(one.svg, "image/svg+xml")
    picture = Image.open(io.BytesIO(one.png)).convert("RGB")
    for scale, quality in STEPS if one.svg is not None else STEPS[1:]:
        small = picture.resize(_scaled(picture.size, scale), Image.Resampling.LANCZOS)
        yield address(webp_of(small, quality), "image/webp")


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
