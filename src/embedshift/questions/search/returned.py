"""The results of a search: the ranks of the originals, and which other images came first."""

import numpy as np
import polars as pl

from embedshift.arrays import Values

# Bins of ranks: words → the last rank of each.
RANKS = {"rank 1": 1, "2 to 5": 5, "6 to 10": 10, "11 to 100": 100, "beyond 100": None}


def rank_shares(ranks: pl.DataFrame) -> dict[str, Values]:
    """Returns the proportions of each augmentation's views at ranks 1, 2 to 5, 6 to 10, 11 to 100, and beyond.

    Args:
        ranks: The table `search_ranks`; a view without a rank is left out.

    Returns:
        Augmentation → `[5]`, with a sum of 1.

    Example:
        >>> ranks = pl.DataFrame({"view": ["blur"] * 4, "rank": [1, 1, 7, 300]})
        >>> rank_shares(ranks)["blur"].tolist()
        [0.5, 0.0, 0.25, 0.0, 0.25]
    """
    last = [end for end in RANKS.values() if end is not None]
    parts = ranks.select("view", "rank").drop_nulls().partition_by("view", as_dict=True, maintain_order=True)
    bins = {view: np.searchsorted(last, part["rank"].to_numpy()) for (view,), part in parts.items()}
    return {str(view): np.bincount(found, minlength=len(RANKS)) / len(found) for view, found in bins.items()}


def instead(ranks: pl.DataFrame, count: int) -> list[dict[str, object]]:
    """Returns views of draw 0 for which another image came first, by margin, spread over augmentations.

    First comes the view with the widest margin of every augmentation, then the second of each, and so on. The margin is
    the cosine with the other image minus that with the own original.

    Args:
        ranks: The table `search_ranks`.
        count: The largest number of views.

    Example:
        >>> ranks = pl.DataFrame({"image_id": ["a", "b", "a"], "view": ["blur", "blur", "noise"], "draw": [0] * 3,
        ...     "rank": [2, 3, 2], "cosine": [0.8, 0.5, 0.7], "other": ["b", "a", "b"], "other_cosine": [0.9] * 3})
        >>> [(row["view"], row["image_id"]) for row in instead(ranks, 2)]
        [('blur', 'b'), ('noise', 'a')]
    """
    missed = ranks.filter((pl.col("draw") == 0) & (pl.col("rank") > 1)).drop_nulls(["other", "other_cosine", "cosine"])
    margin = pl.col("other_cosine") - pl.col("cosine")
    by_margin = missed.with_columns(margin=margin).sort("margin", "image_id", descending=[True, False])
    turns = by_margin.with_columns(turn=pl.int_range(pl.len()).over("view"))
    return turns.sort("turn", "margin", descending=[False, True], maintain_order=True).head(count).to_dicts()
