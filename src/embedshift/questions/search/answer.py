"""The question's answer on the first screen: how often a search finds the original first."""

import polars as pl

from embedshift.config import BUNDLED, Json
from embedshift.questions.search.near import near_duplicates
from embedshift.report.numbers import in_percent
from embedshift.report.section import Answer, PageInput

RECALL = "recall@1"
# Recall from which a search misses few, and below which it misses more than it finds.
SAFE, HALF = 0.95, 0.5


def answer(page: PageInput) -> Answer | None:
    table = page.data.table("search")
    if table is None:
        return None
    content = recall_summary(page, table) | {"near": near_duplicates(page.reader)}
    return Answer("Does image search still find the original?", content)


def recall_summary(page: PageInput, table: pl.DataFrame) -> Json:
    gallery = page.reader.kept_settings("search_ranks").get("gallery", "").partition("|")[0]
    return {
        "recall": recall_extremes(table),
        "images": page.data.images,
        "gallery": gallery and page.reader.naming.setting(gallery),
        "encoder": page.encoder,
        "is_weak": page.info.encoder.name == BUNDLED,
    }


def recall_extremes(table: pl.DataFrame) -> Json:
    """Returns the augmentations of the best and the worst recall@1, and those of high and of low recall."""
    measured = table.filter(pl.col("metric") == RECALL).drop_nulls("value")
    rows = measured.sort("value", maintain_order=True).to_dicts()
    if not rows:
        return {"augmentations": 0}
    return {
        "augmentations": len(rows),
        "best": _formatted(rows[-1]),
        "worst": _formatted(rows[0]),
        "are_equal": len(rows) > 1 and rows[0]["value"] == rows[-1]["value"],
        "safe": [row["augmentation"] for row in reversed(rows) if row["value"] >= SAFE],
        "lost": [row["augmentation"] for row in rows if row["value"] < HALF],
    }


def _formatted(row: Json) -> Json:
    return {"augmentation": row["augmentation"], "recall": in_percent(row["value"], row["ci_low"], row["ci_high"])}
