"""Claim and evidence → a row with a verdict."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from embedshift.questions.claims.evidence import Evidence
from embedshift.questions.claims.statistics import Statistic

HOLDS, DOES_NOT_HOLD, UNDECIDED, NOT_TESTABLE = "holds", "does not hold", "undecided", "not testable"
# With fewer images, all of them agree by chance alone in more than 5 % of studies: 2 * 0.5 ** 5 = 0.06.
LEAST_IMAGES = 6
# Shares of trees that are enough for a verdict.
MOST, FEWEST = 0.95, 0.05
# Two sums of equal numbers may differ by rounding.
_ROUNDING = 1e-12

SCHEMA: dict[str, type[pl.DataType]] = {
    "claim": pl.String,
    "statement": pl.String,
    **dict.fromkeys(("estimate", "ci_low", "ci_high"), pl.Float64),
    "verdict": pl.String,
}


@dataclass(frozen=True)
class Claim:
    """One testable part of a claim.

    Args:
        name: Number and letter, "1a".
        statement: One sentence that names the augmentations.
        statistic: Positive where the statement is right; for a claim about trees 1 where it is right, else 0.
        of_trees: Whether the estimate is the share of bootstrap trees.
    """

    name: str
    statement: str
    statistic: Statistic
    of_trees: bool = False


def judge(claim: Claim, evidence: Evidence) -> dict[str, object]:
    """The row of one claim.

    Example:
        >>> claim = Claim("0a", "blur rises", lambda evidence: evidence.get(("rise",), ["blur"])[:, 0])
        >>> judge(claim, Evidence(10, {("rise", "blur"): np.array([2.0, 1.0, 3.0])}))["verdict"]
        'holds'
    """
    values = claim.statistic(evidence)
    resampled = values[1:][np.isfinite(values[1:])]
    row: dict[str, object] = {"claim": claim.name, "statement": claim.statement}
    if not np.isfinite(values[0]) or not len(resampled):
        return row | {"verdict": NOT_TESTABLE}
    if claim.of_trees:
        share = float(resampled.mean())
        return row | {"estimate": share, "verdict": _verdict(share >= MOST, share <= FEWEST, evidence.images)}
    low, high = np.quantile(np.where(np.abs(resampled) < _ROUNDING, 0.0, resampled), (0.025, 0.975))
    row |= {"estimate": float(values[0]), "verdict": _verdict(low > 0, high < 0, evidence.images)}
    return row | ({"ci_low": float(low), "ci_high": float(high)} if evidence.images >= LEAST_IMAGES else {})


def _verdict(holds: bool, fails: bool, images: int) -> str:
    if images < LEAST_IMAGES or not (holds or fails):
        return UNDECIDED
    return HOLDS if holds else DOES_NOT_HOLD
