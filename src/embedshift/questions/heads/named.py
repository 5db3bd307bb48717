"""The table `head_words`: the words that name the heads of the last blocks."""

from collections.abc import Mapping, Sequence

import polars as pl

from embedshift.arrays import Values
from embedshift.errors import UsageError
from embedshift.questions.heads.textspan import covariances, textspan
from embedshift.statistics.intervals import LEAST_IMAGES

SCHEMA: dict[str, type[pl.DataType]] = {
    "layer": pl.Int64,
    "head": pl.Int64,
    "rank": pl.Int64,
    "word": pl.String,
    "explained": pl.Float64,
}


def head_words(sums: Mapping[str, Values], bank: Sequence[str], depth: int) -> pl.DataFrame:
    """Returns at most five words for each head of the last blocks."""
    if float(sums.get("images", 0)) < LEAST_IMAGES or "texts" not in sums:
        return pl.DataFrame(schema=SCHEMA)
    texts, varied = sums["texts"], covariances(sums)
    if texts.ndim != 4 or texts.shape[:2] != varied.shape[:2] or texts.shape[2] != len(bank):
        raise UsageError(f"its shards do not fit its bank of {len(bank)} texts; run the study again")
    blocks, heads = texts.shape[:2]
    found = [
        (depth - blocks + block + 1, head, rank, bank[picked.text], picked.explained)
        for block in range(blocks)
        for head in range(heads)
        for rank, picked in enumerate(textspan(varied[block, head], texts[block, head]), start=1)
    ]
    return pl.DataFrame(found, schema=SCHEMA, orient="row")
