"""The tables of heads: which heads and MLPs carry the shift of an augmentation, and the details."""

from collections.abc import Callable, Sequence

import polars as pl

from embedshift.questions.heads.columns import HEADS, MLP, MLPS, SINGLE
from embedshift.questions.heads.named import head_words
from embedshift.questions.heads.route import head_effect, head_route
from embedshift.questions.heads.tokens import head_tokens
from embedshift.questions.heads.weighted import PARTS, length_of, of_augmentations
from embedshift.statistics.intervals import LEAST_IMAGES
from embedshift.store.reader import Reader
from embedshift.store.tables import Table


def heads(rows: pl.LazyFrame, augmentations: Sequence[str], *, seed: int) -> pl.DataFrame:
    """Returns for each augmentation and part of the encoder its contribution of the mean shift, with a 95 % interval."""
    columns = [HEADS, MLPS, *SINGLE.values()]
    made: list[pl.DataFrame] = []
    for name, numbers in of_augmentations(rows, augmentations, columns, seed=seed):
        part = pl.DataFrame(_parts(rows), schema=["layer", "part"], orient="row").with_columns(
            pl.lit(name).alias("augmentation"), *(pl.Series(key, values) for key, values in numbers.items())
        )
        # The order of the columns is that of the parts; the sort is stable.
        made.append(part.sort("layer", maintain_order=True))
    if not made:
        return pl.DataFrame(schema=PARTS)
    return pl.concat(made).select(pl.col(name).cast(kind) for name, kind in PARTS.items()).fill_nan(None)


def _parts(rows: pl.LazyFrame) -> list[tuple[int, str]]:
    """Returns layer and name of every part, in the order of the lists' numbers."""
    depth, all_heads = (length_of(rows, name) for name in (MLPS, HEADS))
    found = [(1 + number // (all_heads // depth), str(number % (all_heads // depth))) for number in range(all_heads)]
    return [*found, *((layer, MLP) for layer in range(1, depth + 1)), *((0, name) for name in SINGLE)]


def _of_rows(make: Callable[..., pl.DataFrame]) -> Callable[[Reader], pl.DataFrame]:
    return lambda reader: make(reader.rows(), reader.augmentations, seed=reader.info.seed)


def _detail(name: str) -> Callable[[Reader], bool]:
    """Returns a function for `possible`: whether the study has a detail."""
    return lambda reader: reader.identity_of("heads").get("detail") == name


def _bank(reader: Reader) -> list[str]:
    return [*reader.identity_of("heads").get("bank", [])]


def _words(reader: Reader) -> pl.DataFrame:
    return head_words(reader.sums("words"), _bank(reader), length_of(reader.rows(), MLPS))


def _can_be_named(reader: Reader) -> bool:
    return bool(_bank(reader)) and sum(record.images for record in reader.records) >= LEAST_IMAGES


TABLES = (
    Table("heads", _of_rows(heads)),
    Table("head_words", _words, is_available=_can_be_named, requires=f"a text tower, and {LEAST_IMAGES} images"),
    Table("head_tokens", _of_rows(head_tokens), is_available=_detail("tokens"), requires="`heads_detail` tokens"),
    Table("head_route", _of_rows(head_route), is_available=_detail("route"), requires="`heads_detail` route"),
    Table("head_effect", _of_rows(head_effect), is_available=_detail("route"), requires="`heads_detail` route"),
)
