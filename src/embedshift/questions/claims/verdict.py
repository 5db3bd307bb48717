"""Verdicts on claims from evidence, corrected for the number of claims."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from embedshift.arrays import Values
from embedshift.questions.claims.bootstrap import Bootstrap
from embedshift.questions.claims.contrasts import Contrast

HOLDS, DOES_NOT_HOLD, UNDECIDED, NOT_TESTABLE = "holds", "does not hold", "undecided", "not testable"
# A verdict's adjusted p is at most this.
LEVEL = 0.05

SCHEMA: dict[str, type[pl.DataType]] = {
    "claim": pl.String,
    "statement": pl.String,
    **dict.fromkeys(("estimate", "ci_low", "ci_high"), pl.Float64),
    "verdict": pl.String,
    **dict.fromkeys(("p_value", "p_adjusted"), pl.Float64),
    "requires": pl.String,
}


@dataclass(frozen=True)
class Finding:
    estimate: float
    low: float = np.nan
    high: float = np.nan
    p: tuple[float, float] | None = None
    shown: tuple[bool, bool] = (True, True)


class Test(Protocol):
    @property
    def contrasts(self) -> Sequence[Contrast]:
        """The contrasts that the test needs from the bootstrap."""

    @property
    def requires(self) -> str:
        """What the two verdicts require, in plain words."""

    def find(self, bootstrap: Bootstrap) -> Finding | None:
        """Returns the result on these images; None if they cannot test the claim."""


@dataclass(frozen=True)
class Claim:
    """One testable part of a claim, and the optional metric that it is about."""

    name: str
    statement: str
    test: Test
    optional: str = ""


def judge(claims: Sequence[Claim], bootstrap: Bootstrap) -> pl.DataFrame:
    """Returns one row per claim; p values are adjusted over both directions of all tested claims."""
    findings = [claim.test.find(bootstrap) for claim in claims]
    p = {index: finding.p for index, finding in enumerate(findings) if finding is not None and finding.p is not None}
    adjusted = dict(zip(p, holm(list(p.values())).reshape(-1, 2).tolist(), strict=True))
    rows: list[dict[str, object]] = []
    for index, (claim, finding) in enumerate(zip(claims, findings, strict=True)):
        row: dict[str, object] = {"claim": claim.name, "statement": claim.statement, "requires": claim.test.requires}
        if finding is None:
            row["verdict"] = NOT_TESTABLE
            if claim.optional and not bootstrap.evidence.measures(claim.optional):
                row["requires"] = f"Not measured: run with `metrics` {claim.optional}. {claim.test.requires}"
        else:
            row |= {"estimate": finding.estimate, "ci_low": finding.low, "ci_high": finding.high, "verdict": UNDECIDED}
        if finding is not None and index in p:
            row |= {"p_value": min(p[index]), "p_adjusted": min(adjusted[index])}
            row["verdict"] = _verdict(adjusted[index], finding.shown)
        rows.append(row)
    return pl.DataFrame(rows, schema=SCHEMA).with_columns(pl.col(pl.Float64).fill_nan(None))


def _verdict(adjusted: Sequence[float], shown: Sequence[bool]) -> str:
    candidates = zip((HOLDS, DOES_NOT_HOLD), adjusted, shown, strict=True)
    return next((verdict for verdict, p, is_shown in candidates if p <= LEVEL and is_shown), UNDECIDED)


def holm(p: ArrayLike) -> Values:
    """Adjusts p values for their number (Holm 1979) and keeps their shape."""
    values = np.asarray(p, np.float64)
    order = np.argsort(values, axis=None, kind="stable")
    adjusted = np.empty(values.size)
    adjusted[order] = np.maximum.accumulate(values.ravel()[order] * np.arange(values.size, 0, -1))
    return np.minimum(adjusted, 1.0).reshape(values.shape)
