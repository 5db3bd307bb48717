"""Which words of a drawn figure touch each other or leave it."""

import itertools
from typing import Any
from unittest import mock

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox


def drawn_texts(figure: Figure) -> list[tuple[str, Bbox]]:
    """Every text that really is drawn, with its box in pixels."""
    seen: dict[int, Text] = {}
    draw: Any = Text.draw

    def record(self: Text, *arguments: Any, **more: Any) -> None:
        if self.get_visible() and self.get_text().strip():
            seen[id(self)] = self
        draw(self, *arguments, **more)

    canvas: Any = FigureCanvasAgg(figure)
    with mock.patch.object(Text, "draw", record):
        canvas.draw()
    return [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in seen.values()]


def overlaps(figure: Figure, *, slack: float = 1.0) -> list[str]:
    """One line per pair of texts that relative shift more than `slack` pixels, and per text that leaves the figure."""
    texts = drawn_texts(figure)
    frame = figure.bbox
    found = [
        f"{text!r} leaves the figure by {worst:.0f} px"
        for text, box in texts
        if (worst := max(frame.x0 - box.x0, frame.y0 - box.y0, box.x1 - frame.x1, box.y1 - frame.y1)) > slack
    ]
    for (one, a), (two, b) in itertools.combinations(texts, 2):
        width = min(a.x1, b.x1) - max(a.x0, b.x0)
        height = min(a.y1, b.y1) - max(a.y0, b.y0)
        if width > slack and height > slack:
            found.append(f"{one!r} and {two!r} relative shift {width:.0f} x {height:.0f} px")
    return found
