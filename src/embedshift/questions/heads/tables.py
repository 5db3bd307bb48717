"""The tables of heads: which heads and MLPs carry the shift of an augmentation, and the details."""

from collections.abc import Callable, Sequence

import polars as pl

from embedshift.questions.heads.columns import HEADS, MLP, MLPS, SINGLE
from embedshift.questions.heads.named import head_words
from embedshift.questions.heads.tokens import head_tokens
from embedshift.questions.heads.weighted import PARTS, contribution_intervals, length_of
from embedshift.statistics.chunks import Rows, chunked
from embedshift.statistics.intervals import LEAST_IMAGES
from embedshift.store.reader import Reader
from embedshift.store.tables import Table


def heads(rows: Rows, augmentations: Sequence[str], *, seed: int) -> pl.DataFrame:
    """By augmentation and part of the encoder: its contribution to the mean shift, with a 95 % interval."""
    rows, columns = chunked(rows), [HEADS, MLPS, *SINGLE.values()]
    parts: list[pl.DataFrame] = []
    for name, numbers in contribution_intervals(rows, augmentations, columns, seed=seed):
        part = pl.DataFrame(_parts(rows.all_rows), schema=["layer", "part"], orient="row").with_columns(
            pl.lit(name).alias("augmentation"), *(pl.Series(key, values) for key, values in numbers.items())
        )
        # The order of the columns is that of the parts; the sort is stable.
        parts.append(part.sort("layer", maintain_order=True))
    if not parts:
        return pl.DataFrame(schema=PARTS)
    return pl.concat(parts).select(pl.col(name).cast(kind) for name, kind in PARTS.items()).fill_nan(None)


def _parts(rows: pl.LazyFrame) -> list[tuple[int, str]]:
    """Returns layer and name of every part, in the order of the lists' numbers."""
    depth, all_heads = (length_of(rows, name) for name in (MLPS, HEADS))
    parts = [(1 + number // (all_heads // depth), str(number % (all_heads // depth))) for number in range(all_heads)]
    return [*parts, *((layer, MLP) for layer in range(1, depth + 1)), *((0, name) for name in SINGLE)]


def _from_rows(make: Callable[..., pl.DataFrame]) -> Callable[[Reader], pl.DataFrame]:
    return lambda reader: make(reader.chunks, reader.augmentations, seed=reader.info.seed)


def _has_tokens(reader: Reader) -> bool:
    return reader.identity_of("heads").get("detail") == "tokens"


def _bank(reader: Reader) -> list[str]:
    return [*reader.identity_of("heads").get("bank", [])]


def _words(reader: Reader) -> pl.DataFrame:
    return head_words(reader.sums("words"), _bank(reader), length_of(reader.rows(), MLPS))


def _can_be_named(reader: Reader) -> bool:
    return bool(_bank(reader)) and sum(record.images for record in reader.records) >= LEAST_IMAGES


TABLES = (
    Table(
        "heads",
        _from_rows(heads),
        doc="Contribution of heads and MLPs to the shift: `augmentation, layer, part, contribution, ci_low, ci_high`.",
    ),
    Table(
        "head_words",
        _words,
        is_available=_can_be_named,
        requires=f"a text tower, and {LEAST_IMAGES} images",
        doc="Texts that describe the heads of the last blocks.",
    ),
    Table(
        "head_tokens",
        _from_rows(head_tokens),
        is_available=_has_tokens,
        requires="`heads_tokens`",
        doc="Contribution of attention weights and of token values in the last block.",
    ),
)
