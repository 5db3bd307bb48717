"""Embeds figures in the page within a budget: as vectors if these are small, else as bitmaps."""

from collections.abc import Sequence
from dataclasses import dataclass

from embedshift.figures import FigureKind


@dataclass(frozen=True)
class DrawnFigure:
    """A rendered figure."""

    kind: FigureKind
    inches: tuple[float, float]
    forms: Sequence[str]


@dataclass(frozen=True)
class EmbeddedFigure:
    """A figure as the page holds it."""

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
    # Line drawings are small: the remaining bytes go to figures with images.
    for place, one in enumerate(sorted(figures, key=lambda each: each.kind.shows_images)):
        fraction = left // (len(figures) - place)
        found = next((form for form in one.forms if len(form) <= fraction), None)
        if found is not None:
            left -= len(found)
            width, height = (round(96 * inches) for inches in one.inches)
            kind, number = one.kind, one.kind.number
            shown = (kind.name, number.lstrip("0"), kind.title, found, width, height, kind.section)
            done.append((number, EmbeddedFigure(*shown)))
    return [shown for _, shown in sorted(done, key=lambda pair: pair[0])], len(figures) - len(done)
