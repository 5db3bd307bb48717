"""How far the vectors of two stacks are from each other: by cosine, as a relative shift, in search, by their norms."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from embedshift.arrays import Values
from embedshift.config import Json
from embedshift.errors import EmbedshiftError
from embedshift.statistics.agreement import NEIGHBOURS, linear_cka
from embedshift.statistics.retrieval import Gallery, search
from embedshift.statistics.vectors import normalised

# The mean of 1 − cosine, and the difference of two cosines, up to which stacks in float32 differ by rounding alone.
ROUNDING, TIE = 1e-10, 1e-6


@dataclass(frozen=True, eq=False)
class Distance:
    """What separates two stacks; vectors of different `lengths` have no `distances` (1 − cosine of each image).

    `search`: queries in an index, and the fraction of the reference's own neighbours that they find. `margins`: by how
    much the nearest other image leads in the reference; `changed`: images with another one, where that is no tie.
    """

    lengths: tuple[int, int]
    norms: tuple[Values, Values]
    cka: float
    distances: Values
    mean: float = np.nan
    relative_shift: float = np.nan
    search: tuple[Json, ...] = ()
    margins: Values | None = None
    changed: tuple[int, ...] = ()


def distance_between(reference: ArrayLike, served: ArrayLike) -> Distance:
    stacks = {"reference": np.asarray(reference, np.float64), "served": np.asarray(served, np.float64)}
    (first, second), count = stacks.values(), len(stacks["reference"])
    if count < 2:
        raise EmbedshiftError("one image has no other image to compare with: give two or more")
    # Half the squared distance of unit vectors is 1 − cosine, exact near 0.
    others = (count**2 - np.square(normalised(first).sum(axis=0)).sum()) / (count * (count - 1))
    if others < ROUNDING:
        raise EmbedshiftError("the reference gives all images one vector, so that there is no scale: give other images")
    lengths, norms = (first.shape[1], second.shape[1]), (np.linalg.norm(first, axis=1), np.linalg.norm(second, axis=1))
    cka = linear_cka(first, second)[0]
    if lengths[0] != lengths[1]:
        return Distance(lengths, norms, cka, np.zeros(0))
    distances, kept = (
        np.square(normalised(first) - normalised(second)).sum(axis=1) / 2,
        min(NEIGHBOURS, max(1, (count - 1) // 2)),
    )
    pairs = [("reference", "reference"), ("served", "served"), ("served", "reference"), ("reference", "served")]
    ranked = [
        search(stacks[query], np.arange(count), Gallery.of(stacks[index]), count=max(2, kept)) for query, index in pairs
    ]
    near = [ranking.positions[:, :kept] for ranking in ranked]
    rows = tuple(
        {
            "queries": pair[0],
            "index": pair[1],
            "recall@1": float((ranking.rank == 1).mean()),
            "neighbours": float((positions[:, :, None] == near[0][:, None]).any(axis=2).mean()),
        }
        for pair, ranking, positions in zip(pairs, ranked, near, strict=True)
    )
    margins = ranked[0].others[:, 0] - (ranked[0].others[:, 1] if count > 2 else -np.inf)
    moved = np.any([positions[:, 0] != near[0][:, 0] for positions in near], axis=0) & (margins > TIE)
    mean, changed = float(distances.mean()), tuple(map(int, np.flatnonzero(moved)))
    return Distance(lengths, norms, cka, distances, mean, mean / others, rows, margins, changed)
