"""The report's section on the paper's claims."""

import math
from collections import Counter

import polars as pl

from embedshift.config import Json
from embedshift.report.numbers import at_places, decimals, fixed
from embedshift.report.section import PageInput, Part, Section

# Claims whose estimate is a number of augmentations, or a rank.
WHOLE = ("11", "12")
VERDICTS = {"holds": "holds", "does not hold": "fails"}


def section(page: PageInput) -> Section | None:
    if "claims" not in page.reader.table_names:
        return None
    claims = claim_rows(page.data.need("claims"))
    content = {"claims": claims, "counts": Counter(claim["verdict"] for claim in claims)}
    return Section("claims", "Claims", content, is_last=not page.is_papers)


def claim_rows(claims: pl.DataFrame) -> list[Json]:
    rows: list[Json] = []
    for row in claims.iter_rows(named=True):
        low, high = row["ci_low"], row["ci_high"]
        has_interval = low is not None and high is not None
        is_whole = row["claim"].startswith(WHOLE)
        places = 0 if is_whole else metric_decimals(row["estimate"], low, high) if has_interval else 3
        estimate, interval = at_places(row["estimate"], low, high, places)
        if not (has_interval or is_whole):
            estimate = cut(row["estimate"])
        rows.append(row | {"estimate": estimate, "interval": interval, "kind": VERDICTS.get(row["verdict"], "open")})
    return rows


def metric_decimals(estimate: float, low: float, high: float) -> int:
    """Returns the decimals that show an interval's width and one figure of each number that is not 0; from 2 to 12."""
    smallest = min((abs(value) for value in (estimate, low, high) if abs(value) > 1e-12), default=1.0)
    return min(12, max(2, decimals(low, high), math.ceil(-math.log10(smallest))))


def cut(estimate: float | None) -> str:
    return fixed(None if estimate is None else math.trunc(round(estimate * 1000, 6)) / 1000, 3)


TERMS = {
    "undecided": "Verdict on a claim, or on a rule of embedshift check: these images do not decide it either way.",
    "not testable": "Verdict on a claim: the study lacks the data for it, or nothing differs.",
}
CORRECTED = {"Verdicts on the paper's claims": "Corrected over both directions of all claims on the page (Holm)."}

PART = Part(section, terms=TERMS, corrected=CORRECTED)
