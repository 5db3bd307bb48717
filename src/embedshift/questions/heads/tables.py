"""The tables of heads: which heads and MLPs carry the shift of an augmentation, words for them, and by token."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.errors import UsageError
from embedshift.questions.heads import HEADS, MLP, MLPS, SINGLE, TOKENS
from embedshift.questions.heads.textspan import covariances, textspan
from embedshift.questions.heads.weighted import NUMBERS, contribution_intervals, length_of
from embedshift.statistics.intervals import LEAST_IMAGES
from embedshift.statistics.layout import Rows, image_rows
from embedshift.store.reader import Reader
from embedshift.store.table import Table

HEADS_SCHEMA: dict[str, type[pl.DataType]] = {
    "augmentation": pl.String,
    "layer": pl.Int64,
    "part": pl.String,
    **dict.fromkeys(NUMBERS, pl.Float64),
}
WORDS_SCHEMA: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("layer", "head", "rank"), pl.Int64),
    "word": pl.String,
    "explained": pl.Float64,
}
TOKENS_SCHEMA: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("augmentation", "term"), pl.String),
    **dict.fromkeys(NUMBERS, pl.Float64),
}


def head_tokens(rows: Rows, augmentations: Sequence[str], *, seed: int) -> pl.DataFrame:
    tables = [
        pl.DataFrame({"augmentation": name, "term": [*TOKENS], **numbers})
        for name, numbers in contribution_intervals(rows, augmentations, [*TOKENS.values()], _terms, seed=seed)
    ]
    return pl.concat([pl.DataFrame(schema=TOKENS_SCHEMA), *tables]).fill_nan(None)


def _terms(tokens: Values) -> Values:
    """Sums both lists side by side `[b, draws, 2 * T]` to `[b, draws, 2]`."""
    return np.asarray(tokens.reshape(*tokens.shape[:2], len(TOKENS), -1).sum(axis=3))


def head_words(sums: Mapping[str, Values], bank: Sequence[str], depth: int) -> pl.DataFrame:
    if float(sums.get("images", 0)) < LEAST_IMAGES or "texts" not in sums:
        return pl.DataFrame(schema=WORDS_SCHEMA)
    texts, head_covariances = sums["texts"], covariances(sums)
    if texts.ndim != 4 or texts.shape[:2] != head_covariances.shape[:2] or texts.shape[2] != len(bank):
        raise UsageError(f"its shards do not fit its bank of {len(bank)} texts; run the study again")
    blocks, heads = texts.shape[:2]
    rows = [
        (depth - blocks + block + 1, head, rank, bank[pick.text], pick.explained)
        for block in range(blocks)
        for head in range(heads)
        for rank, pick in enumerate(textspan(head_covariances[block, head], texts[block, head]), start=1)
    ]
    return pl.DataFrame(rows, schema=WORDS_SCHEMA, orient="row")


def heads(rows: Rows, augmentations: Sequence[str], *, seed: int) -> pl.DataFrame:
    """By augmentation and part of the encoder: its contribution to the mean shift, with a 95 % interval."""
    rows, columns = image_rows(rows), [HEADS, MLPS, *SINGLE.values()]
    parts: list[pl.DataFrame] = []
    for name, numbers in contribution_intervals(rows, augmentations, columns, seed=seed):
        part = pl.DataFrame(_parts(rows.frame), schema=["layer", "part"], orient="row").with_columns(
            pl.lit(name).alias("augmentation"), *(pl.Series(key, values) for key, values in numbers.items())
        )
        # The order of the columns is that of the parts; the sort is stable.
        parts.append(part.sort("layer", maintain_order=True))
    if not parts:
        return pl.DataFrame(schema=HEADS_SCHEMA)
    return pl.concat(parts).select(pl.col(name).cast(kind) for name, kind in HEADS_SCHEMA.items()).fill_nan(None)


def _parts(rows: pl.LazyFrame) -> list[tuple[int, str]]:
    depth, all_heads = (length_of(rows, name) for name in (MLPS, HEADS))
    parts = [(1 + number // (all_heads // depth), str(number % (all_heads // depth))) for number in range(all_heads)]
    return [*parts, *((layer, MLP) for layer in range(1, depth + 1)), *((0, name) for name in SINGLE)]


def _bank(reader: Reader) -> list[str]:
    return [*reader.identity_of("heads").get("bank", [])]


def _can_be_named(reader: Reader) -> bool:
    return bool(_bank(reader)) and sum(record.images for record in reader.records) >= LEAST_IMAGES


TABLES: tuple[Table[Reader], ...] = (
    Table(
        "heads",
        lambda reader: heads(reader.image_rows, reader.augmentations, seed=reader.info.seed),
        doc="Contribution of heads and MLPs to the shift: `augmentation, layer, part, contribution, ci_low, ci_high`.",
    ),
    Table(
        "head_words",
        lambda reader: head_words(reader.sums("words"), _bank(reader), length_of(reader.rows(), MLPS)),
        is_available=_can_be_named,
        requires=f"a text tower, and {LEAST_IMAGES} images",
        doc="Texts that describe the heads of the last blocks.",
    ),
    Table(
        "head_tokens",
        lambda reader: head_tokens(reader.image_rows, reader.augmentations, seed=reader.info.seed),
        is_available=lambda reader: reader.identity_of("heads").get("detail") == "tokens",
        requires="`heads_tokens`",
        doc="Contribution of attention weights and of token values in the last block.",
    ),
)
