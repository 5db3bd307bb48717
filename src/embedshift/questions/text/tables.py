"""The tables `words` and `word_test`: whether the shift of an augmentation points to the word for it."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.augmentations import ORIGINAL
from embedshift.statistics import bootstrap
from embedshift.store.reader import Reader
from embedshift.store.tables import Table

PERMUTATIONS = 10_000
ALL = "all"

WORDS_SCHEMA: dict[str, type[pl.DataType]] = {
    "augmentation": pl.String,
    "word": pl.String,
    "n": pl.Int64,
    **dict.fromkeys(("mean", "ci_low", "ci_high"), pl.Float64),
}
TEST_SCHEMA: dict[str, type[pl.DataType]] = {
    "augmentation": pl.String,
    "rank": pl.Int64,
    **dict.fromkeys(("own", "others", "difference", "p_value"), pl.Float64),
}


def words(rows: pl.LazyFrame, augmentations: Sequence[str], named: Sequence[str], *, seed: int) -> pl.DataFrame:
    """Mean cosine between the shift of every augmentation and the direction of every word.

    Args:
        rows: Records of a study with `word_cosines`.
        augmentations: A names, in suite order.
        named: The W augmentations that have a word, in the order of the lists.
        seed: The study's seed; it decides the resamples.

    Returns:
        `augmentation, word, n, mean, ci_low, ci_high`, one row per pair, A x W; a word is called by its augmentation. n
        counts the views that moved; the interval is the bootstrap's 95 % interval of the mean over images with all
        their draws. What has no value is null.
    """
    order = bootstrap.layout(rows)
    if not order.images:
        return pl.DataFrame(schema=WORDS_SCHEMA)
    counts, *numbers = bootstrap.describe_lists(rows, order, augmentations, ["word_cosines"], seed)
    pairs = [(augmentation, word) for augmentation in augmentations for word in named]
    columns = dict(zip(("mean", "ci_low", "ci_high"), (part.ravel() for part in numbers), strict=True))
    return pl.DataFrame(
        {"augmentation": [pair[0] for pair in pairs], "word": [pair[1] for pair in pairs]}
        | {"n": counts.ravel().astype(np.int64)}
        | columns,
        schema=WORDS_SCHEMA,
    ).fill_nan(None)


def matrix(table: pl.DataFrame, column: str = "mean") -> tuple[list[str], list[str], Values]:
    """A column of `words` as a matrix: names of augmentations, names of words, float64 `[A, W]`, NaN for null.

    Example:
        >>> table = pl.DataFrame({"augmentation": ["a", "a"], "word": ["a", "b"], "mean": [0.5, None]})
        >>> matrix(table)[2].tolist()
        [[0.5, nan]]
    """
    names, named = (table[name].unique(maintain_order=True).to_list() for name in ("augmentation", "word"))
    values = table[column].fill_null(np.nan).to_numpy().astype(np.float64)
    return names, named, values.reshape(len(names), len(named))


def word_test(table: pl.DataFrame, *, seed: int) -> pl.DataFrame:
    """Whether shifts point to their own words rather than to those of the others.

    Augmentations without a word, or whose views never moved, are left out. Over the rest, the mean of the diagonal of
    `words` less the mean of what is beside it is compared with 10,000 permutations of the words' labels;
    `p_value = (1 + permutations that reach it) / (1 + 10,000)`, one-sided. With W words no p-value can be below about
    1 / W!: three words give 1/6 at best.

    Args:
        table: As `words` gives it.
        seed: The study's seed; it decides the permutations.

    Returns:
        `augmentation, rank, own, others, difference, p_value`: per augmentation the rank of its own word (1 = no other
        is nearer to its shift), the mean cosine with it and with the others; then one row "all" with the means of both,
        their difference and its p-value. The difference and what follows from it are null for fewer than two words.

    Example:
        >>> pairs = [(a, b, float(a == b)) for a in "abc" for b in "abc"]
        >>> table = pl.DataFrame(pairs, schema=["augmentation", "word", "mean"], orient="row")
        >>> word_test(table, seed=0).row(-1, named=True)["difference"]
        1.0
    """
    names, named, values = matrix(table)
    kept = [name for name in names if name in named and not np.isnan(values[names.index(name)]).any()]
    square = values[np.ix_([names.index(n) for n in kept], [named.index(n) for n in kept])]
    made: list[dict[str, object]] = []
    for place, name in enumerate(kept):
        row, own = square[place], float(square[place, place])
        others = float(np.delete(row, place).mean()) if len(row) > 1 else None
        made.append({"augmentation": name, "rank": 1 + int((row > own).sum()), "own": own, "others": others})
    if len(kept) > 1:
        made.append({"augmentation": ALL, **_permuted(square, seed)})
    return pl.DataFrame(made, schema=TEST_SCHEMA).with_columns(difference=pl.col("own") - pl.col("others"))


def _permuted(square: Values, seed: int) -> dict[str, float]:
    """Means of diagonal and rest, and how often the diagonal of relabelled words reaches that of the true ones."""
    size = len(square)
    diagonal = float(np.trace(square))
    labels = np.tile(np.arange(size), (PERMUTATIONS, 1))
    drawn = np.random.default_rng(seed).permuted(labels, axis=1)
    sums = square[np.arange(size), drawn].sum(axis=1)
    # Relabelling moves nothing out of the matrix: where the diagonal is larger, so is its lead over the rest.
    reached = int((sums >= diagonal - 1e-12).sum())
    return {
        "own": diagonal / size,
        "others": float((square.sum() - diagonal) / (size * size - size)),
        "p_value": (1 + reached) / (1 + PERMUTATIONS),
    }


def phrases(reader: Reader) -> dict[str, str]:
    """Augmentation → the phrase that its shift was compared with; empty where there was none."""
    found = reader.identity_of("text").get("words", {})
    return {name: phrase for name, phrase in found.items() if name != ORIGINAL}


def words_of_study(reader: Reader) -> pl.DataFrame:
    """The table `words` of a study."""
    return words(reader.rows(), reader.augmentations, [*phrases(reader)], seed=reader.info.seed)


def test_of_study(reader: Reader) -> pl.DataFrame:
    """The table `word_test` of a study."""
    table = reader.table("words")
    assert table is not None
    return word_test(table, seed=reader.info.seed)


TABLES = (
    Table("words", words_of_study, possible=phrases),
    Table("word_test", test_of_study, reads=("words",), possible=phrases),
)
