"""The table `heads`: which heads and MLPs carry the shift of an augmentation."""

from collections.abc import Iterator, Sequence

import polars as pl

from embedshift.arrays import Values
from embedshift.questions.heads.columns import HEADS, MLP, MLPS, SINGLE
from embedshift.statistics.layout import Layout, layout, list_parts
from embedshift.statistics.ratios import of_ratios
from embedshift.statistics.summary import COSINE
from embedshift.store.reader import Reader
from embedshift.store.tables import Table

SCHEMA: dict[str, type[pl.DataType]] = {
    "augmentation": pl.String,
    "layer": pl.Int64,
    "part": pl.String,
    **dict.fromkeys(("share", "ci_low", "ci_high"), pl.Float64),
}
# 1 - cosine of the views that have shares.
_SHIFT = "_shift"


def heads(rows: pl.LazyFrame, augmentations: Sequence[str], *, seed: int) -> pl.DataFrame:
    """Per augmentation and part of the encoder: its share of the mean shift, and a 95 % interval.

    The share of an augmentation is the mean over views of share * (1 - cosine), divided by the mean of 1 - cosine: what
    part of the augmentation's mean shift the part carries. Shares of small shifts, which are noisy, count little. A
    view without shares is in neither mean.

    Args:
        rows: Records of a study with heads.
        augmentations: Names, in suite order.
        seed: The study's seed; it decides the resamples.

    Returns:
        `augmentation, layer, part, share, ci_low, ci_high`: layer 0 has the parts `input`, `pattern` and `rest`; layers
        1, the first block, to L, the last, have their heads by number, "0" first, and `mlp`. The shares of an
        augmentation sum to 1; they may be negative. Null where no view has shares; an interval, below 8 images.
    """
    order = layout(rows)
    if not order.images:
        return pl.DataFrame(schema=SCHEMA)
    names = _parts(rows.collect_schema())
    made: list[pl.DataFrame] = []
    for name in augmentations:
        found = of_ratios(_weighted(rows, order, name), seed=seed)
        numbers = dict(zip(("share", "ci_low", "ci_high"), found, strict=True))
        part = pl.DataFrame(names, schema=["layer", "part"], orient="row").with_columns(
            pl.lit(name).alias("augmentation"), *(pl.Series(key, values) for key, values in numbers.items())
        )
        # The order of the columns is that of the parts; the sort is stable.
        made.append(part.sort("layer", maintain_order=True))
    return pl.concat(made).select(pl.col(name).cast(kind) for name, kind in SCHEMA.items()).fill_nan(None)


def _parts(schema: pl.Schema) -> list[tuple[int, str]]:
    """Layer and name of every part, in the order of the lists' numbers."""
    depth, all_heads = (_length(schema[name]) for name in (MLPS, HEADS))
    found = [(1 + number // (all_heads // depth), str(number % (all_heads // depth))) for number in range(all_heads)]
    return [*found, *((layer, MLP) for layer in range(1, depth + 1)), *((0, name) for name in SINGLE)]


def _length(kind: pl.DataType) -> int:
    """Of the lists of a column."""
    assert isinstance(kind, pl.Array)
    return kind.size


def _weighted(rows: pl.LazyFrame, order: Layout, name: str) -> Iterator[tuple[Values, Values]]:
    """Of the images, some at a time: sums of share * (1 - cosine) over the draws `[b, K]`, and of 1 - cosine `[b]`."""
    shift = 1 - pl.col(COSINE)
    # A view without shares has null or NaN in all lists; one that did not turn has nothing to share.
    there = pl.col(MLPS).arr.get(0).is_finite() & (shift > 0)
    moved = rows.filter(pl.col("view") == name).select(
        "view",
        _lists_of_one(shift, there).alias(_SHIFT),
        *(pl.when(there).then(pl.col(each)) * shift for each in (HEADS, MLPS)),
        *(_lists_of_one(pl.col(each) * shift, there).alias(each) for each in SINGLE.values()),
    )
    own = Layout(order.images, (order.views[0], *[name] * len(order.positions(name))))
    for sums, _ in list_parts(moved, own, [name], [_SHIFT, HEADS, MLPS, *SINGLE.values()]):
        yield sums[:, 1:], sums[:, 0]


def _lists_of_one(number: pl.Expr, there: pl.Expr) -> pl.Expr:
    return pl.when(there).then(pl.concat_list(number)).list.to_array(1)


def of_study(reader: Reader) -> pl.DataFrame:
    """The table of a study."""
    return heads(reader.rows(), reader.augmentations, seed=reader.info.seed)


TABLES = (Table("heads", of_study),)
