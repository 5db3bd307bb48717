"""The tables of heads: which heads and MLPs carry the shift of an augmentation, words for them, and by token."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import Values
from embedshift.errors import UsageError
from embedshift.questions.heads import HEADS, MLP, MLPS, SINGLE, TOKENS
from embedshift.statistics.intervals import LEAST_IMAGES, ratio_interval
from embedshift.statistics.layout import ImageRows, Layout, blocks
from embedshift.statistics.summary import COSINE
from embedshift.store.reader import Reader
from embedshift.store.table import Table

# From a part that works against the shift through none to one that carries it.
COLOURS = "RdBu_r"


@dataclass(frozen=True)
class ContributionArrays:
    heads: Values
    mlps: Values
    single: dict[str, float]

    @property
    def depth(self) -> int:
        return len(self.mlps)


def contributions_of(table: pl.DataFrame) -> dict[str, ContributionArrays]:
    by_augmentation: dict[str, ContributionArrays] = {}
    for (name,), part in table.group_by("augmentation", maintain_order=True):
        contribution = part["contribution"].cast(pl.Float64).fill_null(np.nan).to_numpy()
        blocks = contribution[len(SINGLE) :].reshape(part["layer"].n_unique() - 1, -1)
        assert part["part"][-1] == MLP
        single = dict(zip(part["part"].head(len(SINGLE)), contribution[: len(SINGLE)].tolist(), strict=True))
        by_augmentation[str(name)] = ContributionArrays(blocks[:, :-1], blocks[:, -1], single)
    return by_augmentation


def furthest_first(names: Sequence[str], shift: Values) -> list[str]:
    """Returns the augmentations from the greatest mean shift to the least; those without one come last."""
    order = np.argsort(-np.nan_to_num(shift, nan=-np.inf), kind="stable")
    return [names[index] for index in order]


NUMBERS = ("contribution", "ci_low", "ci_high")


def contribution_intervals(
    study: ImageRows,
    augmentations: Sequence[str],
    columns: Sequence[str],
    combine: Callable[[Values], Values] = np.asarray,
    *,
    seed: int,
) -> Iterator[tuple[str, dict[str, Values]]]:
    """Yields for each augmentation K contributions of its mean shift, with 95 % intervals."""
    for name in augmentations if study.layout.images else ():
        weighted = _weighted(study.frame, study.layout, name, columns, combine)
        ratios = ratio_interval(weighted, seed=seed, groups=study.groups)
        yield name, dict(zip(NUMBERS, ratios, strict=True))


def _weighted(
    rows: pl.LazyFrame, order: Layout, name: str, columns: Sequence[str], combine: Callable[[Values], Values]
) -> Iterator[tuple[Values, Values]]:
    """Yields, some images at a time, contribution * (1 - cosine) summed over draws `[b, K]`, and 1 - cosine `[b]`."""
    moved, draws = rows.filter(pl.col("view") == name).select(COSINE, *columns), len(order.positions(name))
    for block in blocks(moved, draws):
        shift = 1 - numbers_of(block, [COSINE]).reshape(-1, draws)
        contributions = numbers_of(block, columns)
        contributions = combine(contributions.reshape(*shift.shape, contributions.shape[1]))
        # A view without contributions has null or NaN in all of them; so has one that did not move.
        is_measured = np.isfinite(contributions).all(axis=2) & (shift > 0)
        weight = np.where(is_measured, shift, 0.0)
        yield (np.where(is_measured[..., None], contributions, 0.0) * weight[..., None]).sum(axis=1), weight.sum(axis=1)


def numbers_of(rows: pl.DataFrame, columns: Sequence[str]) -> Values:
    """Concatenates columns of lists and of numbers, float64 `[n, C]`; null becomes NaN."""
    return np.column_stack([rows[name].to_numpy() for name in columns]).astype(np.float64)


def length_of(rows: pl.LazyFrame, name: str) -> int:
    kind = rows.collect_schema()[name]
    assert isinstance(kind, pl.Array)
    return kind.size


# The number of last blocks whose heads get words, and words per head; earlier heads hardly reach the embedding.
LAST_BLOCKS = 4
WORDS = 5
# Variance below this fraction of the first is rounding.
NOTHING = 1e-9


@dataclass(frozen=True)
class Picked:
    text: int
    explained: float


def textspan(covariance: ArrayLike, texts: ArrayLike, count: int = WORDS) -> list[Picked]:
    remaining, vectors = np.array(covariance, np.float64), np.array(texts, np.float64)
    total, picked = float(np.trace(remaining)), list[Picked]()
    for _ in range(min(count, len(remaining))):
        variances = ((vectors @ remaining) * vectors).sum(axis=1)
        best = int(variances.argmax())
        if not variances[best] > NOTHING * total:
            break
        direction = vectors[best] / np.linalg.norm(vectors[best])
        projection = np.eye(len(remaining)) - np.outer(direction, direction)
        remaining, vectors = projection @ remaining @ projection, vectors @ projection
        picked.append(Picked(best, 1 - float(np.trace(remaining)) / total))
    return picked


def covariances(sums: Mapping[str, Values]) -> NDArray[np.float64]:
    mean = sums["first"] / sums["images"]
    return np.asarray(sums["second"] / sums["images"] - mean[..., :, None] * mean[..., None, :], np.float64)


HEADS_SCHEMA = pl.Schema(
    {"augmentation": str, "layer": int, "part": str, "contribution": float, "ci_low": float, "ci_high": float}
)
WORDS_SCHEMA = pl.Schema({"layer": int, "head": int, "rank": int, "word": str, "explained": float})
TOKENS_SCHEMA = pl.Schema({"augmentation": str, "term": str, "contribution": float, "ci_low": float, "ci_high": float})


def head_tokens(study: ImageRows, augmentations: Sequence[str], *, seed: int) -> pl.DataFrame:
    def terms(tokens: Values) -> Values:
        return np.asarray(tokens.reshape(*tokens.shape[:2], len(TOKENS), -1).sum(axis=3))

    tables = [
        pl.DataFrame({"augmentation": name, "term": [*TOKENS], **numbers})
        for name, numbers in contribution_intervals(study, augmentations, [*TOKENS.values()], terms, seed=seed)
    ]
    return pl.concat([pl.DataFrame(schema=TOKENS_SCHEMA), *tables]).fill_nan(None)


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


def heads(study: ImageRows, augmentations: Sequence[str], *, seed: int) -> pl.DataFrame:
    columns = [HEADS, MLPS, *SINGLE.values()]
    tables = [pl.DataFrame(schema=HEADS_SCHEMA)]
    for name, numbers in contribution_intervals(study, augmentations, columns, seed=seed):
        layers, names = zip(*_parts(study.frame), strict=True)
        keys = {"augmentation": [name] * len(names), "layer": layers, "part": names}
        # The order of the columns is that of the parts; the sort is stable.
        tables.append(pl.DataFrame(keys | numbers, schema=HEADS_SCHEMA).sort("layer", maintain_order=True))
    return pl.concat(tables).fill_nan(None)


def _parts(rows: pl.LazyFrame) -> list[tuple[int, str]]:
    depth, all_heads = (length_of(rows, name) for name in (MLPS, HEADS))
    parts = [(1 + number // (all_heads // depth), str(number % (all_heads // depth))) for number in range(all_heads)]
    return [*parts, *((layer, MLP) for layer in range(1, depth + 1)), *((0, name) for name in SINGLE)]


def _bank(reader: Reader) -> list[str]:
    return [*reader.identity_of("heads").get("bank", [])]


TABLES: tuple[Table[Reader], ...] = (
    Table(
        "heads",
        lambda reader: heads(reader.image_rows, reader.augmentations, seed=reader.info.seed),
        doc="Contribution of heads and MLPs to the shift: `augmentation, layer, part, contribution, ci_low, ci_high`.",
    ),
    Table(
        "head_words",
        lambda reader: head_words(reader.sums("words"), _bank(reader), length_of(reader.rows(), MLPS)),
        is_available=lambda reader: _bank(reader) and sum(one.images for one in reader.records) >= LEAST_IMAGES,
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
