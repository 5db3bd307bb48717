"""The results of a search: the ranks of the originals, which other images came first, and hubs among them."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.augmentations import ORIGINAL
from embedshift.statistics.retrieval import Positions, Ranked

# Bins of ranks: words → the last rank of each.
RANKS = {"rank 1": 1, "2 to 5": 5, "6 to 10": 10, "11 to 100": 100, "beyond 100": None}


def rank_fractions(ranks: pl.DataFrame) -> dict[str, Values]:
    """Returns the proportions of each augmentation's views at ranks 1, 2 to 5, 6 to 10, 11 to 100, and beyond."""
    last = [end for end in RANKS.values() if end is not None]
    parts = ranks.select("view", "rank").drop_nulls().partition_by("view", as_dict=True, maintain_order=True)
    bins = {view: np.searchsorted(last, part["rank"].to_numpy()) for (view,), part in parts.items()}
    return {str(view): np.bincount(indices, minlength=len(RANKS)) / len(indices) for view, indices in bins.items()}


def search_mistakes(ranks: pl.DataFrame, count: int) -> list[dict[str, object]]:
    """Returns views of draw 0 for which another image came first, by margin, spread over augmentations."""
    missed = ranks.filter((pl.col("draw") == 0) & (pl.col("rank") > 1)).drop_nulls(["other", "other_cosine", "cosine"])
    margin = pl.col("other_cosine") - pl.col("cosine")
    by_margin = missed.with_columns(margin=margin).sort("margin", "image_id", descending=[True, False])
    turns = by_margin.with_columns(turn=pl.int_range(pl.len()).over("view"))
    return turns.sort("turn", "margin", descending=[False, True], maintain_order=True).head(count).to_dicts()


def first_results(ranked: Ranked, own: Positions, count: int) -> Positions:
    """Returns the positions of the first results of each query, its own original among them; -1 if there are fewer."""
    columns = np.arange(min(count, ranked.positions.shape[1] + 1))
    rank = np.where(ranked.rank > 0, ranked.rank, count + 1)[:, None]
    others = np.pad(ranked.positions, ((0, 0), (0, 1)), constant_values=-1)
    results = np.take_along_axis(others, columns - (columns >= rank), axis=1)
    return np.where(columns == rank - 1, own[:, None], results)


def hubs(results: Mapping[str, Positions], names: Sequence[str], images: int) -> pl.DataFrame:
    """Returns the table `hubs`, from the first results of the originals and of each augmentation's views."""
    sides = [(name, side, view) for name in names for side, view in (("original", ORIGINAL), ("view", name))]
    rows = [(name, side, *hub(results[view], images)) for name, side, view in sides]
    schema = {"augmentation": pl.String, "side": pl.String, "largest": pl.Float64, "skewness": pl.Float64}
    return pl.DataFrame(rows, schema, orient="row").fill_nan(None)


def hub(results: Positions, images: int) -> tuple[float, float]:
    """The largest fraction of queries `[q, k]` with one first result; skewness of k-occurrences (Radovanović 2010)."""
    results = results[(results >= 0).any(axis=1)]
    if not results.size:
        return float("nan"), float("nan")
    off = np.bincount(results[results >= 0], minlength=images) - (results >= 0).sum() / images
    skewness = (off**3).mean() / ((off**2).mean() or np.nan) ** 1.5
    return float(np.bincount(results[:, 0]).max() / len(results)), float(skewness)
