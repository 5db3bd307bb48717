"""Do the shifts of changes add up in a chain? Sentences from the table `chains`: holds, does not, undecided."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

import polars as pl

from embedshift.questions.chains.tables import ENDS
from embedshift.report.numbers import fixed, listed, significant

# Cosine without noise from which on the direction of a chain is that of the sum of its parts.
ALIKE = 0.9
HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
Row = Mapping[str, Any]


def of_direction(row: Row) -> str:
    """Judges whether the mean shift of a chain has the direction of the sum of its parts."""
    return _verdict(row["agreement_low"], row["agreement_high"], ALIKE)


def of_length(row: Row) -> str:
    """Judges whether the shift of a chain is at most as long as the sum of the shifts of its parts."""
    if row["ratio_low"] is None:
        return UNDECIDED
    return _verdict(-row["ratio_high"], -row["ratio_low"], -1.0)


def _verdict(low: float | None, high: float | None, limit: float) -> str:
    if low is None or high is None:
        return UNDECIDED
    return HOLDS if low >= limit else FAILS if high < limit else UNDECIDED


def sentences(table: pl.DataFrame) -> Iterator[str]:
    """Yields what the measured chains say: of directions, lengths, searches and orders."""
    rows = table.to_dicts()
    yield _of_all("The mean shift of a chain has the direction of the sum of its parts", rows, of_direction)
    ratios = [row["ratio"] for row in rows if row["ratio"] is not None]
    if ratios:
        middle, least, most = (fixed(each, 2) for each in (median(ratios), min(ratios), max(ratios)))
        words = f"A chain moves the embedding at most as far as that sum (median {middle} of it, {least} to {most})"
        yield _of_all(words, rows, of_length)
    fewer = [row["recall"] - row["recall_predicted"] for row in rows]
    kept = sum(each >= 0 for each in fewer)
    words = "A search with a chain finds at least as many images as with the predicted vectors"
    yield f"{words} in {kept} of {len(rows)} chains; at most {100 * max(0.0, -min(fewer)):.1f} points fewer."
    yield from _of_orders(rows)


def _of_all(words: str, rows: Sequence[Row], verdict: Callable[[Row], str]) -> str:
    found = {each: [row["chain"] for row in rows if verdict(row) == each] for each in (HOLDS, FAILS, UNDECIDED)}
    failed = f" ({listed(found[FAILS], 3)})" if found[FAILS] else ""
    counts = f"holds for {len(found[HOLDS])} of {len(rows)} chains, does not for {len(found[FAILS])}{failed}"
    return f"{words}: {counts}, undecided for {len(found[UNDECIDED])}."


def _of_orders(rows: Sequence[Row]) -> Iterator[str]:
    both = [row for row in rows if (row["order_effect"] or 0) > 0]
    apart = [row for row in both if row["order_effect_low"] is not None and row["order_effect_low"] > 0]
    if not both:
        return
    words = f"The order matters in {len(apart)} of {len(both)} pairs of changes that were measured in both"
    if apart:
        most = max(apart, key=lambda row: row["order_effect"])
        effect = significant(*(most[f"order_effect{end}"] for end in ENDS))
        words += f", most in {most['chain']}: {effect} in relative shift against the other order"
    yield f"{words}."
