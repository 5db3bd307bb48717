"""Tables of a search, made by hand: what figures and report show of them can be counted."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from embedshift.figures import FigureInput
from embedshift.questions.search.section import section
from embedshift.report import page
from embedshift.report.section import PageInput
from embedshift.store.reader import Reader

DUPLICATES = {"image_id": pl.String, "other": pl.String, "cosine": pl.Float64, "whitened": pl.Float64}
DUPLICATES |= {"group": pl.Int64, "expected_false": pl.Float64}
SIZES = {"measured": (3, 6, 12), "predicted": (24, 48), "bound": (120, 1200)}
RATES = (0.01, 0.001)


def recalled(reader: Reader, recall: dict[str, float]) -> pl.DataFrame:
    """The table `search` with a recall@1 for each augmentation, recall@5 and @10 above it, and an area."""
    rows: list[tuple[Any, ...]] = []
    for name, value in recall.items():
        metrics = {"recall@1": value, "recall@5": (1 + value) / 2, "recall@10": 1.0, "mrr": value, "auc": 0.5}
        metrics["knn_overlap@10"] = value / 2
        rows += [
            (name, metric, 12, each, max(0.0, each - 0.1), min(1.0, each + 0.1)) for metric, each in metrics.items()
        ]
    return pl.DataFrame(rows, schema=["augmentation", "metric", "n", "value", "ci_low", "ci_high"], orient="row")


def searched(reader: Reader, recall: dict[str, float], pairs: Sequence[tuple[str, str, float]] = ()) -> Reader:
    """The reader with hand-made tables of a search beside those that it has."""
    sizes = [
        (name, size, value * 12 / (12 + size), 0.0, None if kind == "bound" else 1.0, kind)
        for name, value in recall.items()
        for kind, each in SIZES.items()
        for size in each
    ]
    curve = [(name, 10.0**-power, value / power) for name, value in recall.items() for power in (1, 2, 3)]
    curve += [(name, 0.0, 0.0) for name in recall]
    matches = [(name, rate, 12, value, 0.25, 0.75) for name, value in recall.items() for rate in RATES]
    made = {
        "search": recalled(reader, recall),
        "thresholds": pl.DataFrame(
            {"false_match_rate": RATES, "threshold": [0.91, 0.96], "ci_low": [0.9, 0.95], "ci_high": [0.92, 0.97]}
        ),
        "gallery_sizes": pl.DataFrame(
            sizes, schema=["augmentation", "images", "recall", "ci_low", "ci_high", "kind"], orient="row"
        ),
        "roc": pl.DataFrame(curve, schema=["augmentation", "false_match_rate", "tpr"], orient="row"),
        "matches": pl.DataFrame(
            matches, schema=["augmentation", "false_match_rate", "n", "value", "ci_low", "ci_high"], orient="row"
        ),
        "duplicates": pl.DataFrame(
            [(*pair, None, number, 0.5) for number, pair in enumerate(pairs, 1)], schema=DUPLICATES, orient="row"
        ),
    }
    return replace(reader, made={**reader.made, **made})


def html_of(reader: Reader) -> str:
    """The section of the search in a report."""
    made = section(PageInput(FigureInput(reader), "CLIP", {}, reader.records))
    return "" if made is None else str(page.fill("search/section.html.j2", made.content))
