"""Describes the tolerances of a study in sentences."""

from collections.abc import Sequence

import polars as pl
from markupsafe import Markup

from embedshift.config import Json
from embedshift.figures.style import human
from embedshift.report.numbers import listed
from embedshift.statistics.tolerance import MISSED, MISSED_CRITERION, by_family
from embedshift.statistics.units import in_words, interval_in_words

# Families that a sentence names; the others stand in the table.
NAMED = 6


def sentences(tolerance: pl.DataFrame, encoder: str, link: str = "") -> list[Markup]:
    """Describes at which strengths the embedding has moved a tenth of the distance to another image."""
    rows = list(by_family(tolerance).values())
    reached, other = ([row for row in rows if row["reached"] == side] for side in (True, False))
    if not rows:
        return []
    if not reached:
        words = "At every measured strength, the embedding of {} stays below a tenth of the distance to another image."
        return [Markup(words).format(encoder)]
    named = Markup("; ").join(map(_named, reached[:NAMED]))
    more = len(reached) - NAMED
    rest = Markup("") if more < 1 else Markup("; and {} more, <a href='{}'>in the table</a>").format(more, link)
    first = Markup("The embedding of {} reaches a tenth of the distance to another image under {}{}.").format(
        encoder, named, rest
    )
    return [first, *([_not_reached(other)] if other else []), *_missed(tolerance)]


def _missed(tolerance: pl.DataFrame) -> list[Markup]:
    """Describes at which strengths a search begins to miss; empty if the study has no search."""
    rows = [row for row in by_family(tolerance, MISSED_CRITERION).values() if row["reached"]]
    if not rows:
        return []
    named = Markup("; ").join(map(_named, rows[:NAMED]))
    more = len(rows) - NAMED
    rest = "" if more < 1 else f"; and {more} more"
    words = "A search among the originals misses {:g} % of the views under {}{}."
    return [Markup(words).format(100 * MISSED, named, rest)]


def _named(row: Json) -> Markup:
    interval = interval_in_words(row["low"], row["high"], row["unit"])
    words = Markup("<b>{}</b> at {}").format(human(row["family"]), in_words(row["value"], row["unit"]))
    return words + (f" [{interval}]" if interval else "")


def _not_reached(rows: Sequence[Json]) -> Markup:
    names = Markup(listed([Markup("<b>{}</b>").format(human(row["family"])) for row in rows]))
    return Markup("It stays below a tenth at every measured strength under {}.").format(names)
