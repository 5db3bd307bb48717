"""Embeds figures in the page within a budget: as vectors if these are small, else as bitmaps."""

from collections.abc import Sequence
from dataclasses import dataclass

from embedshift.figures import FigureKind


@dataclass(frozen=True)
class DrawnFigure:
    kind: FigureKind
    inches: tuple[float, float]
    forms: Sequence[str]


@dataclass(frozen=True)
class EmbeddedFigure:
    kind: FigureKind
    address: str
    width: int
    height: int


def embed(figures: Sequence[DrawnFigure], budget: int) -> tuple[list[EmbeddedFigure], int]:
    """Returns the figures in the order of the paper, and the number of those that did not fit."""
    left, done = budget, list[EmbeddedFigure]()
    # What the smallest leave goes to larger ones, and in the end to figures with images.
    for position, figure in enumerate(sorted(figures, key=lambda one: (one.kind.shows_images, len(one.forms[0])))):
        fraction = left // (len(figures) - position)
        address = next((form for form in figure.forms if len(form) <= fraction), None)
        if address is not None:
            left -= len(address)
            width, height = (round(96 * inches) for inches in figure.inches)
            done.append(EmbeddedFigure(figure.kind, address, width, height))
    return sorted(done, key=lambda figure: figure.kind.number), len(figures) - len(done)
