"""The table `head_tokens`: does the last block's attention look elsewhere, or find something else there?"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.questions.heads.columns import TOKENS
from embedshift.questions.heads.weighted import NUMBERS, of_augmentations

SCHEMA: dict[str, type[pl.DataType]] = {
    "augmentation": pl.String,
    "term": pl.String,
    **dict.fromkeys(NUMBERS, pl.Float64),
}


def head_tokens(rows: pl.LazyFrame, augmentations: Sequence[str], *, seed: int) -> pl.DataFrame:
    """Per augmentation: how much of its mean shift the last block's attention carries, by the reason why.

    Args:
        rows: Records of a study with `heads_detail` tokens.
        augmentations: Names, in suite order.
        seed: The study's seed; it decides the resamples.

    Returns:
        `augmentation, term, share, ci_low, ci_high`: `pattern` for looking elsewhere, `values` for finding something
        else; both sum to the share of the last block's heads in the table `heads`. Null as there.
    """
    made = [
        pl.DataFrame({"augmentation": name, "term": [*TOKENS], **numbers})
        for name, numbers in of_augmentations(rows, augmentations, [*TOKENS.values()], _terms, seed=seed)
    ]
    return pl.concat([pl.DataFrame(schema=SCHEMA), *made]).fill_nan(None)


def _terms(tokens: Values) -> Values:
    """Both lists side by side `[b, draws, 2 * T]` → their sums `[b, draws, 2]`."""
    return np.asarray(tokens.reshape(*tokens.shape[:2], len(TOKENS), -1).sum(axis=3))
