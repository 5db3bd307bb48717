"""The results of a search: the ranks of the originals, and which other images came first."""

import numpy as np
import polars as pl

from embedshift.arrays import Values

# Bins of ranks: words → the last rank of each.
RANKS = {"rank 1": 1, "2 to 5": 5, "6 to 10": 10, "11 to 100": 100, "beyond 100": None}


def rank_fractions(ranks: pl.DataFrame) -> dict[str, Values]:
    """Returns the proportions of each augmentation's views at ranks 1, 2 to 5, 6 to 10, 11 to 100, and beyond."""
    last = [end for end in RANKS.values() if end is not None]
    parts = ranks.select("view", "rank").drop_nulls().partition_by("view", as_dict=True, maintain_order=True)
    bins = {view: np.searchsorted(last, part["rank"].to_numpy()) for (view,), part in parts.items()}
    return {str(view): np.bincount(found, minlength=len(RANKS)) / len(found) for view, found in bins.items()}


def instead(ranks: pl.DataFrame, count: int) -> list[dict[str, object]]:
    """Returns views of draw 0 for which another image came first, by margin, spread over augmentations."""
    missed = ranks.filter((pl.col("draw") == 0) & (pl.col("rank") > 1)).drop_nulls(["other", "other_cosine", "cosine"])
    margin = pl.col("other_cosine") - pl.col("cosine")
    by_margin = missed.with_columns(margin=margin).sort("margin", "image_id", descending=[True, False])
    turns = by_margin.with_columns(turn=pl.int_range(pl.len()).over("view"))
    return turns.sort("turn", "margin", descending=[False, True], maintain_order=True).head(count).to_dicts()
