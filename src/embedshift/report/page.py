"""Tables, charts, figures and gallery → one HTML file. Every word that a user gave is escaped by the template."""

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import plotly.offline
import polars as pl
from markupsafe import Markup

from embedshift.metrics import METRICS
from embedshift.report.extremes import KINDS, Card, Gallery
from embedshift.report.facts import cut
from embedshift.report.numbers import MISSING, decimals, fixed, places_of

Row = dict[str, Any]

SECTIONS = (
    ("answer", "Answer"),
    ("summary", "Summary"),
    ("claims", "Claims"),
    ("distributions", "Distributions and tree"),
    ("looks", "What it looks at"),
    ("layers", "Where it happens"),
    ("text", "Against text"),
    ("figures", "The paper's figures"),
    ("gallery", "Images that moved"),
    ("measured", "How it was measured"),
)
# Only in the page where its content is.
OPTIONAL = {"looks", "layers", "text"}
VERDICTS = {"holds": "holds", "does not hold": "fails"}
PLACES = {
    "original": "original",
    "view": "view",
    "original_attention": "attention, original",
    "view_attention": "attention, view",
}


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("embedshift.report", "template"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["thousands"] = lambda number: f"{number:,}"
    # NaN is no JSON: better an error here than a page that does not load.
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment


def render(**content: Any) -> str:
    """The page; the names of `content` are those of the templates in `report/template`."""
    script = Markup(plotly.offline.get_plotlyjs())
    sections = [(name, title) for name, title in SECTIONS if name not in OPTIONAL or content[name]]
    return _environment().get_template("page.html.j2").render(plotly=script, sections=sections, **content)


def summary_table(
    summary: pl.DataFrame,
    ranking: pl.DataFrame,
    clusters: Mapping[str, int],
    metrics: Sequence[str],
    colours: Mapping[str, str],
) -> dict[str, list[Row]]:
    """Columns and rows of the summary, least changed first.

    Args:
        summary: As `Study.summary`.
        ranking: As `Study.ranking`.
        clusters: Augmentation → cluster.
        metrics: Columns, in order.
        colours: Augmentation → colour.
    """
    values = {(row["augmentation"], row["metric"]): row for row in summary.iter_rows(named=True)}
    columns: list[Row] = [{"title": "rank", "sorted": True}, {"title": "augmentation", "text": True}]
    columns += [{"title": METRICS[name].label, "note": f"no change = {METRICS[name].no_change:g}"} for name in metrics]
    columns += [{"title": "mean performance", "note": "of the similarities"}, {"title": "cluster"}]
    scales = {name: _scale(name, [row for (_, metric), row in values.items() if metric == name]) for name in metrics}
    rows: list[Row] = []
    for row in ranking.sort("rank").iter_rows(named=True):
        name, performance = row["augmentation"], row["mean_performance"]
        rows.append(
            row
            | {
                "colour": colours[name],
                "cells": [_cell(values[name, metric], *scales[metric]) for metric in metrics],
                "performance": fixed(performance, 3),
                "performance_value": _sortable(performance),
                "cluster": clusters[name],
            }
        )
    defaults = {"sorted": False, "text": False, "note": ""}
    return {"columns": [defaults | column for column in columns], "rows": rows}


def _scale(metric: str, rows: Sequence[Row]) -> tuple[float, float, int]:
    """No change, the greatest change of a mean in the column, and decimals."""
    means = [row["mean"] for row in rows if row["mean"] is not None]
    no_change = METRICS[metric].no_change
    return (
        no_change,
        max((abs(mean - no_change) for mean in means), default=0),
        places_of(metric, max(means, default=0)),
    )


def _cell(row: Row, no_change: float, greatest: float, places: int) -> Row:
    mean = row["mean"]
    change = 100 * abs(mean - no_change) / greatest if mean is not None and greatest > 0 else 0
    interval = MISSING
    if row["n"] > 1:
        interval = f"{fixed(row['ci_low'], places)} to {fixed(row['ci_high'], places)}"
    return {
        "text": fixed(mean, places),
        "value": _sortable(mean),
        "interval": interval,
        "change": f"{change:.0f}",
    }


def _sortable(value: float | None) -> str:
    return "" if value is None else f"{value:.9g}"


def claim_rows(claims: pl.DataFrame) -> list[Row]:
    """The claims as text, with the kind of their verdict: holds, fails or open."""
    rows: list[Row] = []
    for row in claims.iter_rows(named=True):
        low, high = row["ci_low"], row["ci_high"]
        there = low is not None and high is not None
        places = max(2, min(4, decimals(low, high))) if there else 3
        interval = f"{fixed(low, places)} to {fixed(high, places)}" if there else MISSING
        texts = {"estimate": fixed(row["estimate"], places), "interval": interval}
        rows.append(row | texts | {"kind": VERDICTS.get(row["verdict"], "open")})
    return rows


def verdict_counts(claims: Sequence[Row]) -> str:
    """How many claims have which verdict, in words.

    Example:
        >>> verdict_counts([{"verdict": "holds"}, {"verdict": "undecided"}, {"verdict": "holds"}])
        '2 hold, 1 is undecided'
    """
    words = {
        "holds": ("holds", "hold"),
        "does not hold": ("does not hold", "do not hold"),
        "undecided": ("is undecided", "are undecided"),
        "not testable": ("is not testable", "are not testable"),
    }
    found = Counter(row["verdict"] for row in claims)
    return ", ".join(
        f"{found[verdict]} {said[found[verdict] > 1]}" for verdict, said in words.items() if found[verdict]
    )


def figure_note(shown: int, too_large: int) -> str:
    """What a reader must know about figures that are not there, and where the files are.

    Example:
        >>> figure_note(12, 0)
        'The same figures, for print, are the files in figures/.'
    """
    if not shown:
        return "No figure is in this file."
    left_out = f" {too_large} of them are too large for this file." if too_large else ""
    return f"The same figures, for print, are the files in figures/.{left_out}"


def gallery_groups(gallery: Gallery, order: Sequence[str], colours: Mapping[str, str]) -> list[Row]:
    """The gallery's cards by augmentation and kind, as the template shows them."""
    groups: list[Row] = []
    for index, name in enumerate(order):
        cards = [card for card in gallery.cards if card.augmentation == name]
        kinds = [
            {"title": title, "cards": [_card(card, gallery) for card in cards if card.kind == kind]}
            for kind, title in KINDS.items()
        ]
        kinds = [kind for kind in kinds if kind["cards"]]
        groups.append({"index": index, "augmentation": name, "colour": colours[name], "kinds": kinds})
    return groups


def _card(card: Card, gallery: Gallery) -> Row:
    places = [
        {
            "title": title,
            "photo": card.pictures[place.removesuffix("_attention")],
            "heat": card.pictures[place] if place.endswith("_attention") else None,
            "alt": f"{title}: {card.image_id}" + (f" under {card.augmentation}" if place.startswith("view") else ""),
        }
        for place, title in PLACES.items()
        if place in card.pictures and place.removesuffix("_attention") in card.pictures
    ]
    metrics = [(METRICS[name].label, fixed(value, places_of(name, value))) for name, value in card.metrics.items()]
    reason = cut(gallery.missing.get(card.image_id, ""))
    return {"image_id": card.image_id, "places": places, "metrics": metrics, "reason": reason}


def gallery_notes(gallery: Gallery, thumbnails: bool, has_vectors: bool) -> list[str]:
    """What a reader must know about pictures that are not there."""
    notes: list[str] = []
    if thumbnails and not has_vectors:
        notes.append("Measured with --store metrics: one image a shard kept its attention, no other shows it.")
    if not thumbnails:
        notes.append(
            "Made with --no-thumbnails: this file holds no picture of the images, nor a figure that shows one."
        )
    if gallery.missing:
        shown = len({card.image_id for card in gallery.cards})
        image, why = next(iter(gallery.missing.items()))
        notes.append(
            f"{len(gallery.missing)} of the {shown} images below cannot be shown, since their files could not be read "
            f"again (first: {image}: {cut(why)}). Their numbers stand as they were measured."
        )
    if gallery.undrawable:
        notes.append(
            f"Views of {', '.join(gallery.undrawable)} are not shown: these are functions of the user's own, which a "
            "report cannot call again."
        )
    if gallery.left_out:
        notes.append(f"{gallery.left_out} pictures are left out to keep this file below 10 MB.")
    return notes
