"""Embeds figures in the page within a budget: as vectors if these are small, else as bitmaps."""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    left, done = budget, dict[int, EmbeddedFigure]()
    # What the smallest leave goes to larger ones, and in the end to figures with images.
    smallest_first = sorted(enumerate(figures), key=lambda one: (one[1].kind.shows_images, len(one[1].forms[0])))
    for taken, (position, figure) in enumerate(smallest_first):
        fraction = left // (len(figures) - taken)
        address = next((form for form in figure.forms if len(form) <= fraction), None)
        if address is not None:
            left -= len(address)
            width, height = (round(96 * inches) for inches in figure.inches)
            done[position] = EmbeddedFigure(figure.kind, address, width, height)
    in_order = [done[position] for position in sorted(done)]  # pages of one figure keep theirs
    return sorted(in_order, key=lambda figure: figure.kind.number), len(figures) - len(done)


class EmbeddedFigures(Mapping[str, EmbeddedFigure]):
    """The figures of the page by their names; the first look waits until all are rendered."""

    def __init__(self, drawn: Iterable[DrawnFigure], budget: int) -> None:
        self._drawn, self._budget = drawn, budget

    @functools.cached_property
    def fitted(self) -> tuple[list[EmbeddedFigure], int]:
        return embed(sorted(self._drawn, key=lambda figure: figure.kind.number), self._budget)

    @functools.cached_property
    def _by_name(self) -> dict[str, EmbeddedFigure]:
        return {figure.kind.name: figure for figure in self.fitted[0]}

    def __getitem__(self, name: str) -> EmbeddedFigure:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)
