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
    "takes": pl.String,
}


@dataclass(frozen=True)
class Finding:
    """The result of a test."""

    estimate: float
    low: float = np.nan
    high: float = np.nan
    p: tuple[float, float] | None = None
    shown: tuple[bool, bool] = (True, True)


class Test(Protocol):
    """The interface of a test of a claim."""

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
    """One testable part of a claim."""

    name: str
    statement: str
    test: Test


def judge(claims: Sequence[Claim], bootstrap: Bootstrap) -> pl.DataFrame:
    """Returns one row per claim; p values are adjusted over both directions of all tested claims."""
    findings = [claim.test.find(bootstrap) for claim in claims]
    p = {place: found.p for place, found in enumerate(findings) if found is not None and found.p is not None}
    adjusted = dict(zip(p, holm(list(p.values())).reshape(-1, 2).tolist(), strict=True))
    rows: list[dict[str, object]] = []
    for place, (claim, found) in enumerate(zip(claims, findings, strict=True)):
        row: dict[str, object] = {"claim": claim.name, "statement": claim.statement, "takes": claim.test.requires}
        if found is None:
            row["verdict"] = NOT_TESTABLE
        else:
            row |= {"estimate": found.estimate, "ci_low": found.low, "ci_high": found.high, "verdict": UNDECIDED}
        if found is not None and place in p:
            row |= {"p_value": min(p[place]), "p_adjusted": min(adjusted[place])}
            row["verdict"] = _verdict(adjusted[place], found.shown)
        rows.append(row)
    return pl.DataFrame(rows, schema=SCHEMA).with_columns(pl.col(pl.Float64).fill_nan(None))


def _verdict(adjusted: Sequence[float], shown: Sequence[bool]) -> str:
    given = zip((HOLDS, DOES_NOT_HOLD), adjusted, shown, strict=True)
    return next((verdict for verdict, p, enough in given if p <= LEVEL and enough), UNDECIDED)


def holm(p: ArrayLike) -> Values:
    """Adjusts p values for their number (Holm 1979) and keeps their shape."""
    values = np.asarray(p, np.float64)
    order = np.argsort(values, axis=None, kind="stable")
    adjusted = np.empty(values.size)
    adjusted[order] = np.maximum.accumulate(values.ravel()[order] * np.arange(values.size, 0, -1))
    return np.minimum(adjusted, 1.0).reshape(values.shape)
