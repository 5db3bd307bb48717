"""The table `heads` as arrays, and the order of augmentations from the furthest on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.questions.heads import MLP, SINGLE

# From a part that works against the shift through none to one that carries it.
COLOURS = "RdBu_r"


@dataclass(frozen=True)
class ContributionArrays:
    """The contributions of one augmentation's shift."""

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
