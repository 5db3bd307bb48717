"""Tables of a search, written by hand beside a made study."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from scipy import stats

from embedshift.store.info import TableRecord
from embedshift.store.table import WrittenFiles, record_tables, table_path, write_table
from embedshift.study import Study

Ranks = Mapping[str, Sequence[Sequence[int]]]


def with_search(study: Study, ranks: Ranks, overlap: Mapping[str, Sequence[float]] | None = None) -> Study:
    """The study with the tables `search_ranks` and `search`, made of numbers by augmentation and image, by sorted ids.

    `ranks` are those of every draw, `overlap` the fraction of neighbours that an image's views keep, by default 1.
    """
    ids = sorted(study.reader().image_ids())
    rows = [
        {"image_id": name, "view": view, "draw": draw, "rank": rank, "cosine": 0.9, "other": "x", "other_cosine": 0.5}
        | {"knn_overlap": 1.0 if overlap is None else overlap[view][place]}
        for view, per_image in ranks.items()
        for place, (name, draws) in enumerate(zip(ids, per_image, strict=True))
        for draw, rank in enumerate(draws)
    ]
    table = pl.DataFrame(rows)
    summary = [row for view in ranks for row in _summary(table.filter(view=view), view)]
    written = WrittenFiles()
    for name, made in {"search_ranks": table, "search": pl.DataFrame(summary)}.items():
        written.files[f"tables/{name}.parquet"] = write_table(table_path(study.folder, name), made)
        written.tables[name] = TableRecord()
    record_tables(study.folder, written)
    return study


def _summary(rows: pl.DataFrame, view: str) -> list[dict[str, object]]:
    """Recall with the interval of the binomial law, for one draw; the others with that of the normal law."""
    numbers = {f"recall@{k}": (rows["rank"] <= k).cast(pl.Float64).to_numpy() for k in (1, 5, 10)}
    numbers |= {"mrr": (1 / rows["rank"]).to_numpy(), "knn_overlap@10": rows["knn_overlap"].to_numpy()}
    found: list[tuple[str, float, float, float]] = [("auc", 0.99, 0.98, 1.0)]
    for metric, values in numbers.items():
        value, half = float(values.mean()), 1.96 * float(np.std(values, ddof=1)) / len(values) ** 0.5
        low, high = value - half, value + half
        if metric.startswith("recall"):
            low, high = map(float, stats.binomtest(int(values.sum()), len(values)).proportion_ci(method="exact"))
        found.append((metric, value, low, high))
    names = ("metric", "value", "ci_low", "ci_high")
    return [{"augmentation": view, "n": len(rows)} | dict(zip(names, each, strict=True)) for each in found]


def ranked(images: int, *, lost: int = 0) -> list[list[int]]:
    """Rank 1 for all images but the first ones that are lost, which have rank 3."""
    return [[3] if place < lost else [1] for place in range(images)]
