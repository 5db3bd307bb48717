"""The question's answer on the first screen: how often a search finds the original first."""

from collections import Counter
from collections.abc import Sequence

import polars as pl

from embedshift.config import BUNDLED, Json
from embedshift.questions.search.settings import settings
from embedshift.questions.search.tables import NAMES, misses_in_words, near_copies
from embedshift.report.numbers import in_percent
from embedshift.report.section import Answer, PageInput
from embedshift.statistics.duplicates import rule_in_words
from embedshift.statistics.tolerance import LEAST_SAFE
from embedshift.store.reader import Reader

RECALL = "recall@1"
# A search misses few if recall is above it, and more than it finds if recall is below it, with the whole interval.
SAFE, HALF = 0.95, 0.5
# Recall by chance that is worth saying.
CHANCE = 0.01
# The fraction of images with a near-duplicate from which the page speaks of them.
SIZEABLE = 0.05


def answer(page: PageInput) -> Answer | None:
    table = page.data.table("search")
    if table is None:
        pairs = page.reader.table("duplicates")
        return None if pairs is None else Answer("Which images are duplicates?", found_duplicates(page, pairs))
    least_safe = f"{LEAST_SAFE} {page.data.unit}s" if page.data.units < LEAST_SAFE else None
    content = recall_summary(page, table) | {"near": near_duplicates(page.reader), "least_safe": least_safe}
    return Answer("Does image search still find the original?", content)


def found_duplicates(page: PageInput, pairs: pl.DataFrame) -> Json:
    images = pl.concat([pairs["image_id"], pairs["other"]]).n_unique()
    counts = {"pairs": len(pairs), "groups": pairs["group"].n_unique(), "images": images}
    return {"duplicates": counts, "rule": rule_in_words(settings(page.reader).for_duplicates, page.data.units)}


def recall_summary(page: PageInput, table: pl.DataFrame) -> Json:
    gallery = page.reader.kept_settings("search_ranks").get("gallery", "").partition("|")[0]
    chance = 1 / searched_images(page)
    return {
        "recall": recall_extremes(table),
        "chance": in_percent(chance)[0] if chance >= CHANCE else "",
        "images": page.data.images,
        "gallery": gallery and page.reader.naming.setting(gallery),
        "encoder": page.encoder,
        "is_weak": page.info.encoder.name == BUNDLED,
        "misses": misses_in_words(page.reader),
    }


def searched_images(page: PageInput) -> int:
    sizes = page.data.table("gallery_sizes")
    measured = [] if sizes is None else sizes.filter(kind="measured")["images"].to_list()
    return max(measured, default=page.data.images)


def recall_extremes(table: pl.DataFrame) -> Json:
    measured = table.filter(pl.col("metric") == RECALL).drop_nulls("value")
    rows = measured.sort("value", maintain_order=True).to_dicts()
    if not rows:
        return {"augmentations": 0}
    return {
        "augmentations": len(rows),
        "best": _formatted([row for row in rows if row["value"] == rows[-1]["value"]]),
        "worst": _formatted([row for row in rows if row["value"] == rows[0]["value"]]),
        "safe": [row["augmentation"] for row in reversed(rows) if (row["ci_low"] or 0.0) >= SAFE],
        "lost": [row["augmentation"] for row in rows if row["ci_high"] is not None and row["ci_high"] < HALF],
    }


def _formatted(rows: Sequence[Json]) -> Json:
    low, high = rows[0]["ci_low"], rows[0]["ci_high"]
    if low is not None:
        low, high = min(row["ci_low"] for row in rows), max(row["ci_high"] for row in rows)
    return {"names": [row["augmentation"] for row in rows], "recall": in_percent(rows[0]["value"], low, high)}


def near_duplicates(reader: Reader) -> Json | None:
    """Returns how many images have a near-duplicate in another group; None if few have."""
    if not reader.info.has_vectors or not reader.augmentations:
        return None
    label = near_copies(reader)
    group_of = dict(zip(label, label if reader.groups is None else reader.groups.tolist(), strict=True))
    members = Counter(group for group, _ in {(label[image_id], group_of[image_id]) for image_id in label})
    images = {image_id for image_id, group in label.items() if members[group] > 1}
    if "threshold" not in reader.kept_settings("duplicates"):  # so that page and search count the same images
        pairs = reader.need("duplicates").select(NAMES).iter_rows()
        apart = [pair for pair in pairs if group_of.get(pair[0]) != group_of.get(pair[1])]
        images |= {image_id for pair in apart for image_id in pair if image_id in label}
    return None if len(images) < SIZEABLE * len(label) else {"images": len(images), "of": len(label)}
