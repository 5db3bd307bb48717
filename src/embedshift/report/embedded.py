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
    name: str
    number: str
    title: str
    address: str
    width: int
    height: int
    section: bool


def embed(figures: Sequence[DrawnFigure], budget: int) -> tuple[list[EmbeddedFigure], int]:
    """Returns the figures in the order of the paper, and the number of those that did not fit."""
    left = budget
    done: list[tuple[str, EmbeddedFigure]] = []
    # What the smallest leave goes to larger ones, and in the end to figures with images.
    for position, figure in enumerate(sorted(figures, key=lambda one: (one.kind.shows_images, len(one.forms[0])))):
        fraction = left // (len(figures) - position)
        address = next((form for form in figure.forms if len(form) <= fraction), None)
        if address is not None:
            left -= len(address)
            width, height = (round(96 * inches) for inches in figure.inches)
            kind, number = figure.kind, figure.kind.number
            shown = (kind.name, number.lstrip("0"), kind.title, address, width, height, kind.section)
            done.append((number, EmbeddedFigure(*shown)))
    return [shown for _, shown in sorted(done, key=lambda pair: pair[0])], len(figures) - len(done)
