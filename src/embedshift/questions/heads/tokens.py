"""The table `head_tokens`: whether the last block's attention moves to other tokens or finds other content."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.questions.heads.columns import TOKENS
from embedshift.questions.heads.weighted import NUMBERS, contribution_intervals
from embedshift.statistics.chunks import Rows

SCHEMA: dict[str, type[pl.DataType]] = {
    "augmentation": pl.String,
    "term": pl.String,
    **dict.fromkeys(NUMBERS, pl.Float64),
}


def head_tokens(rows: Rows, augmentations: Sequence[str], *, seed: int) -> pl.DataFrame:
    """Returns for each augmentation how much of its mean shift the last block's attention carries, by reason."""
    tables = [
        pl.DataFrame({"augmentation": name, "term": [*TOKENS], **numbers})
        for name, numbers in contribution_intervals(rows, augmentations, [*TOKENS.values()], _terms, seed=seed)
    ]
    return pl.concat([pl.DataFrame(schema=SCHEMA), *tables]).fill_nan(None)


def _terms(tokens: Values) -> Values:
    """Sums both lists side by side `[b, draws, 2 * T]` to `[b, draws, 2]`."""
    return np.asarray(tokens.reshape(*tokens.shape[:2], len(TOKENS), -1).sum(axis=3))
