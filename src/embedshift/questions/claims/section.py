"""The paper's claims, as rows of a table."""

from collections import Counter
from collections.abc import Sequence

import polars as pl

from embedshift.config import Json
from embedshift.report.numbers import MISSING, decimals, fixed
from embedshift.report.section import PageInput, Part, Section

Row = Json

VERDICTS = {"holds": "holds", "does not hold": "fails"}


def section(page: PageInput) -> Section:
    """Every claim with its verdict."""
    claims = claim_rows(page.data.need("claims"))
    return Section("claims", "Claims", 30, {"claims": claims, "verdicts": verdict_counts(claims)})


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


PART = Part(section)
