"""The question's answer on the first screen: at which strengths the embedding has moved a tenth of the distance."""

from collections.abc import Iterable

import polars as pl

from embedshift.config import Json
from embedshift.figures.style import human
from embedshift.report.section import Answer, PageInput
from embedshift.statistics.summary import COSINE
from embedshift.statistics.tolerance import MISSED, MISSED_CRITERION, by_family
from embedshift.statistics.units import in_words, interval_in_words


def answer(page: PageInput) -> Answer | None:
    """Returns the answer; None without families or without a scale."""
    table, baseline = page.data.table("tolerance"), page.data.baseline(COSINE)
    if table is None or baseline is None:
        return None
    content = {
        "tolerances": tolerances_of(table),
        "encoder": page.encoder,
        "baseline": baseline,
        "images": page.data.units_with(COSINE),
    }
    return Answer("How strong a change does the embedding tolerate?", content, covers_all_levels=True)


def tolerances_of(table: pl.DataFrame) -> Json:
    """Returns the families whose tolerance is reached or not, and those at which a search begins to miss."""
    rows, missed = by_family(table).values(), by_family(table, MISSED_CRITERION).values()
    return {
        "reached": _formatted(rows),
        "not_reached": [human(row["family"]) for row in rows if not row["reached"]],
        "unsure": [human(row["family"]) for row in rows if not row["reached"] and {row["low"], row["high"]} != {None}],
        "missed": _formatted(missed),
        "missed_percent": f"{100 * MISSED:g}",
    }


def _formatted(rows: Iterable[Json]) -> list[Json]:
    return [{"name": human(row["family"]), "tolerance": tolerance_in_words(row)} for row in rows if row["reached"]]


def tolerance_in_words(row: Json) -> tuple[str, str]:
    """Formats a row of the table `tolerance` and its interval."""
    return in_words(row["value"], row["unit"]), interval_in_words(row["low"], row["high"], row["unit"])
