"""The tables `head_route` and `head_effect`: where a shift enters, and how much vanishes when a head is restored."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.questions.heads.columns import HEADS, MLPS, PUT_BACK, ROUTE, ROUTE_SINGLE
from embedshift.questions.heads.weighted import PARTS, length_of, numbers_of, of_augmentations

ABSOLUTE, PATTERN = "absolute", "pattern"
# An absolute sum is 1 where nothing cancels; the rounding of float32 must not pass for a spread.
DECIMALS = 4
EFFECT_SCHEMA: dict[str, type[pl.DataType]] = {
    "augmentation": pl.String,
    "head": pl.Int64,
    **dict.fromkeys(("effect", "ci_low", "ci_high", "contribution"), pl.Float64),
}


def head_route(rows: pl.LazyFrame, augmentations: Sequence[str], *, seed: int) -> pl.DataFrame:
    """Returns for each augmentation and block how much of the mean shift enters by the block's changed attention."""
    rows, depth = _of_routed(rows), length_of(rows, MLPS)

    def terms(values: Values) -> Values:
        """Reduces `[b, draws, L * H + 2]` to `[b, draws, 3 + L]`."""
        blocks = values[..., :-2].reshape(*values.shape[:2], depth, -1).sum(axis=3)
        single = values[..., -2:]
        absolute = np.abs(np.concatenate([single, blocks], axis=2)).sum(axis=2, keepdims=True).round(DECIMALS)
        return np.concatenate([single, absolute, blocks], axis=2)

    places = {"layer": [0] * 3 + [*range(1, depth + 1)], "part": [*ROUTE_SINGLE, ABSOLUTE] + [PATTERN] * depth}
    made = [
        pl.DataFrame({"augmentation": name, **places, **numbers})
        for name, numbers in of_augmentations(rows, augmentations, [ROUTE, *ROUTE_SINGLE.values()], terms, seed=seed)
    ]
    return pl.concat([pl.DataFrame(schema=PARTS), *made]).fill_nan(None)


def head_effect(rows: pl.LazyFrame, augmentations: Sequence[str], *, seed: int) -> pl.DataFrame:
    """Returns for each augmentation and head of the last block how much of the shift vanishes when it is restored."""
    rows = _of_routed(rows)
    count = length_of(rows, PUT_BACK)

    def last(values: Values) -> Values:
        """Splits `[b, draws, H + L * H]` into the effects and the contributions of the last block, `[b, draws, 2 * H]`."""
        return np.concatenate([values[..., :count], values[..., -count:]], axis=2)

    made: list[pl.DataFrame] = []
    for name, numbers in of_augmentations(rows, augmentations, [PUT_BACK, HEADS], last, seed=seed):
        effect = {key: values[:count] for key, values in numbers.items()}
        effect["effect"], contribution = effect.pop("contribution"), numbers["contribution"][count:]
        made.append(
            pl.DataFrame({"augmentation": name, "head": [*range(count)], **effect, "contribution": contribution})
        )
    frames = [pl.DataFrame(schema=EFFECT_SCHEMA), *(each.select(*EFFECT_SCHEMA) for each in made)]
    return pl.concat(frames).fill_nan(None)


@dataclass(frozen=True)
class Agreement:
    """How far direct contributions and effects of heads agree."""

    views: int
    correlation: float
    same_first: float


def agreement(effects: Values, contributions: Values) -> Agreement:
    """Compares the effects of restored heads with the contributions that the heads carry."""
    there = np.isfinite(effects).all(axis=1) & np.isfinite(contributions).all(axis=1)
    effects, contributions = effects[there], contributions[there]
    if not len(effects):
        return Agreement(0, float("nan"), float("nan"))
    off = effects.ravel() - effects.mean(), contributions.ravel() - contributions.mean()
    length = float(np.sqrt((off[0] ** 2).sum() * (off[1] ** 2).sum()))
    correlation = float(off[0] @ off[1]) / length if length > 0 else float("nan")
    same = (effects.argmax(axis=1) == contributions.argmax(axis=1)).mean()
    return Agreement(len(effects), correlation, float(same))


def agreement_of(rows: pl.LazyFrame, augmentations: Sequence[str]) -> Agreement:
    """Returns the agreement over the views of a study with `heads_detail` route."""
    kept = rows.filter(pl.col("view").is_in(list(augmentations)), pl.col(PUT_BACK).is_not_null())
    found, count = kept.select(PUT_BACK, HEADS).collect(), length_of(rows, PUT_BACK)
    return agreement(numbers_of(found, [PUT_BACK]), numbers_of(found, [HEADS])[:, -count:])


def routed(rows: pl.LazyFrame) -> list[str]:
    """Returns the ids of the images whose shifts were followed through the network."""
    return rows.filter(pl.col(ROUTE).is_not_null()).select(pl.col("image_id").unique()).collect()["image_id"].to_list()


def _of_routed(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.filter(pl.col("image_id").is_in(routed(rows)))
