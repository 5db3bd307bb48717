"""The points of a study as HTML, and what a click on one shows."""

from collections.abc import Mapping, Sequence

import matplotlib.ticker
import numpy as np
import polars as pl
from markupsafe import Markup

from embedshift.app.html import grid, note, percent, picture
from embedshift.app.points import Detail, Points, axis_label
from embedshift.arrays import Values
from embedshift.augmentations import ORIGINAL
from embedshift.figures.images import overlay
from embedshift.report.numbers import count, fixed, places_of, shorten, with_interval
from embedshift.statistics.summary import COSINE

# Failed images that are listed.
LISTED = 50


def chart(found: Points, x: str, y: str) -> Markup:
    """Points on two axes. A script of the page makes them answer to clicks and keys."""
    if not found.ids:
        return note("No image is left: change the filter.")
    (left, across), (bottom, up) = _ends(found.x), _ends(found.y)
    dots = Markup("").join(
        Markup('<circle cx="{}" cy="{}" r="4" data-name="{}" data-x="{}" data-y="{}"/>').format(
            percent(one, left, across), percent(other, up, bottom), name, _written(one), _written(other)
        )
        for name, one, other in zip(found.ids, found.x.tolist(), found.y.tolist(), strict=True)
    )
    heights = _ticks(bottom, up)
    below = Markup("").join(
        Markup('<span style="left:{}">{}</span>').format(percent(tick, left, across), _written(tick))
        for tick in _ticks(left, across)
    )
    beside = Markup("").join(
        Markup('<span style="top:{}">{}</span>').format(percent(tick, up, bottom), _written(tick)) for tick in heights
    )
    lines = Markup("").join(
        Markup('<line x1="0" x2="100%" y1="{0}" y2="{0}"/>').format(percent(tick, up, bottom)) for tick in heights
    )
    words = "Points, one an image. Left and right arrows go from point to point, Enter shows the image."
    return Markup(
        '<p class="axis">{}</p>'
        '<div class="plot"><div class="beside">{}</div>'
        '<svg tabindex="0" role="group" aria-label="{}">{}{}</svg><div class="below">{}</div></div>'
        '<p class="axis right">{} →</p><output class="point" aria-live="polite">{}</output><p class="quiet">{}</p>'
    ).format(
        f"↑ {axis_label(y)}", beside, words, lines, dots, below, axis_label(x),
        "Click a point, or move with the arrow keys and press Enter.", _counted(found),
    )  # fmt: skip


def of_detail(shown: Detail, metrics: Sequence[str], augmentation: str) -> Markup:
    """An image of a study with its views and their numbers; what is missing is listed with the reason."""
    parts = [Markup("<h3>{}</h3>").format(shorten(shown.image_id, 200))]
    if shown.image is not None:
        order = [ORIGINAL, *(name for name in shown.image.views if name != ORIGINAL)]
        parts.append(grid(_view(shown, name) for name in order))
        values = shown.image.metrics.get(augmentation, {})
        rows = Markup("").join(
            Markup("<tr><th scope='row'>{}</th><td>{}</td></tr>").format(axis_label(name), _value(name, values))
            for name in metrics
        )
        title = Markup("<caption>All metrics of <b>{}</b></caption>").format(_plain(augmentation))
        parts.append(Markup("<div class='scroll'><table>{}<tbody>{}</tbody></table></div>").format(title, rows))
    for name, why in shown.missing.items():
        words = "The image cannot be shown" if name == ORIGINAL else f"{_plain(name)} cannot be shown"
        parts.append(note(f"{words}: {why}", "error"))
    return Markup("").join(parts)


def of_failures(failures: pl.DataFrame) -> Markup:
    """The images that the study could not measure, with their reasons; nothing where there are none."""
    if failures.is_empty():
        return Markup("")
    rows = [
        Markup("<li><b>{}</b> ({}): {}</li>").format(row["image_id"], row["stage"], shorten(row["reason"], 200))
        for row in failures.head(LISTED).iter_rows(named=True)
    ]
    more = len(failures) - len(rows)
    rows += [Markup("<li>and {} more, in failures.parquet</li>").format(more)] if more else []
    title = f"{count(len(failures), 'image')} could not be measured"
    return Markup("<details><summary>{}</summary><ul>{}</ul></details>").format(title, Markup("").join(rows))


def _view(shown: Detail, name: str) -> Markup:
    """One image of the grid, its attention map below it."""
    assert shown.image is not None
    cosine = shown.image.metrics.get(name, {}).get(COSINE)
    numbers = "" if name == ORIGINAL else f"cosine {fixed(cosine, 3)}"
    if name in shown.relative_shifts:
        numbers = f"relative shift {with_interval(shown.relative_shifts[name], None, None)[0]}, {numbers}"
    view = shown.image.views[name]
    parts = picture(view, _plain(name), numbers)
    if name in shown.image.attention:
        parts += picture(overlay(view, shown.image.attention[name]), f"attention, {_plain(name)}")
    return Markup("<div>{}</div>").format(parts)


def _value(name: str, values: Mapping[str, float]) -> str:
    value = values.get(name)
    return fixed(value, places_of(name, value))


def _plain(name: str) -> str:
    """The name of an augmentation, with places where its line may break."""
    return shorten(name.replace("_", " "), 80)


def _counted(found: Points) -> str:
    shown = f"{count(len(found.ids), 'image')} of {found.of:,} shown"
    return f"{shown}; {found.left_out:,} without a number on an axis" if found.left_out else shown


def _ends(values: Values) -> tuple[float, float]:
    """Ends of an axis, with a margin."""
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or 0.05 * (abs(high) or 1.0)
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[float]:
    ticks = np.asarray(matplotlib.ticker.MaxNLocator(nbins=5).tick_values(low, high))
    return [float(tick) for tick in ticks if low <= tick <= high]


def _written(value: float) -> str:
    return f"{value + 0.0:.4g}".replace("-", "−")
