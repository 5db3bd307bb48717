"""Shared parts of interactive charts: plotly's JSON, made of sums and not of rows, so that its size does not grow."""

import html
from collections.abc import Sequence

import numpy as np

from embedshift.arrays import Values
from embedshift.report.section import Plot

ROW_PIXELS = 34
NEUTRAL = "#808794"


def chart_layout(count: int, title: str, labels: Sequence[str]) -> Plot:
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
