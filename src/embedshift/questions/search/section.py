"""The report's section on search: recall, ranks, thresholds for duplicates, and images found instead."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.augmentations import ORIGINAL
from embedshift.config import BUNDLED, Json
from embedshift.questions.search import copies
from embedshift.questions.search.matching import AUC, MRR, OVERLAP, RECALLS, least_found_first
from embedshift.questions.search.settings import settings
from embedshift.questions.search.tables import counts_copies, misses_in_words
from embedshift.report.numbers import fixed, in_percent
from embedshift.report.section import Answer, PageInput, Part, Section
from embedshift.report.thumbnails import thumbnails
from embedshift.statistics.agreement import NEIGHBOURS
from embedshift.statistics.duplicates import images_in, rule_in_words
from embedshift.statistics.strengths import LEAST_SAFE, ONE_LEVEL
from embedshift.store.grouping import NAMES, near_copies
from embedshift.store.reader import Reader

# Groups of duplicates that are shown, images of each, and views on the first screen that another image comes before.
GROUPS, IMAGES, MISSES = 12, 4, 4
SHOWN = 20  # pairs with a gallery
# The fraction of views, and their number, above which one first result is a hub; and at least twice that of originals.
HUB, FEW = 0.05, 5
# Bins of ranks: words → the last rank of each.
RANKS = {"rank 1": 1, "2 to 5": 5, "6 to 10": 10, "11 to 100": 100, "beyond 100": None}
COLUMNS = (*RECALLS, MRR, OVERLAP, AUC)
TITLES = {MRR: "mean reciprocal rank", OVERLAP: "neighbours kept", AUC: "area under the curve"}
RECALL = "recall@1"
# A search misses few if recall is above it, and more than it finds if recall is below it, with the whole interval.
SAFE, HALF = 0.95, 0.5
# Recall by chance that is worth saying.
CHANCE = 0.01
# The fraction of images with a near-duplicate from which the page speaks of them.
SIZEABLE = 0.05


def section(page: PageInput) -> Section | None:
    if not page.info.has_vectors:
        return Section("search", "Search", {"search": None})
    table, ranks = page.data.table("search"), page.data.table("search_ranks")
    pairs = page.reader.table("duplicates")  # which may be empty
    if pairs is None:
        return None
    if table is None or ranks is None:  # of originals alone
        return Section("search", "Duplicates", {"search": duplicates_content(page, pairs)})
    searched = ranks["image_id"].n_unique()
    measured = set(table.drop_nulls("value")["metric"])
    shown, matches = table.rows_by_key("augmentation", named=True), page.data.table("matches")
    names = [name for name in least_found_first(table) if name in page.data.augmentations]
    fractions, among = rank_fractions(ranks), searched_images(page)
    content = duplicates_content(page, pairs) | {
        "recall_summary": recall_summary(page, table),
        "neighbour": nearest_neighbour(page),
        "images": page.data.images,
        "searched": searched,
        "group_count": min(searched, page.data.group_count),
        "group_word": page.data.group_word,
        "has_groups": page.info.groups is not None,
        "near": near_duplicates(page.reader),
        "always_1": trivial(page.data.images),
        "one_level": ONE_LEVEL if page.data.shows_one_level else "",
        "columns": {name: (TITLES.get(name, name), by_chance(name, among)) for name in COLUMNS if name in measured},
        "recalls": [*RECALLS],
        "rows": {name: {row["metric"]: row for row in shown[name]} for name in names if name in shown},
        "hubs": hubs(page.data.table("hubs"), searched),
        "rank_names": list(RANKS),
        "fractions": {name: fractions[name].tolist() for name in names if name in fractions},
        "rates": [] if matches is None else matches["false_match_rate"].unique(maintain_order=True).to_list(),
        "matches": {} if matches is None else {(name, rate): ends for name, rate, _, *ends in matches.iter_rows()},
        "figures": {name: page.figures.get(name) for name in ("recall", "gallery", "roc")},
    }
    return Section("search", "Search", {"search": content})


def nearest_neighbour(page: PageInput) -> str:
    neighbours = page.data.table("search_neighbours")
    if neighbours is None:
        return ""
    median = neighbours.group_by("image_id").agg(pl.col("cosine").max())["cosine"].median()
    assert isinstance(median, float)
    return fixed(median, 2)


def by_chance(name: str, images: int) -> str:
    """Returns the recall that a random order has, k of n; "" if it is below 0.1 %, and for other metrics."""
    chance = min(1.0, RECALLS.get(name, 0) / images)
    return in_percent(chance)[0] if chance >= 1e-3 else ""


def hubs(table: pl.DataFrame | None, images: int) -> Json:
    if table is None:
        return {"many": []}
    worst = table.drop_nulls("largest").sort("largest", descending=True, maintain_order=True)
    before = float(worst.filter(side="original")["largest"].to_numpy().max(initial=0.0))
    # Draws of one image have alike results, so that they count once.
    least = max(HUB, 2 * before, FEW / images)
    many = worst.filter(pl.col("largest") > least, side="view").select("augmentation", "largest").rows()
    return {"many": [(name, in_percent(largest)[0]) for name, largest in many], "before": in_percent(before)[0]}


def trivial(images: int) -> list[str]:
    """Returns the numbers that are 1 for any encoder, because there are so few images."""
    names = [name for name, k in RECALLS.items() if images <= k]
    return [*names, "the neighbours kept"] if images <= 1 + NEIGHBOURS else names


def rank_fractions(ranks: pl.DataFrame) -> dict[str, Values]:
    last = [end for end in RANKS.values() if end is not None]
    parts = ranks.select("view", "rank").drop_nulls().partition_by("view", as_dict=True, maintain_order=True)
    bins = {view: np.searchsorted(last, part["rank"].to_numpy()) for (view,), part in parts.items()}
    return {str(view): np.bincount(indices, minlength=len(RANKS)) / len(indices) for view, indices in bins.items()}


def search_misses(ranks: pl.DataFrame, label: Mapping[str, int]) -> list[Json]:
    """Returns views that another image comes before, by how much nearer it is; first one of each augmentation.

    The last is a near-copy, by the `label` of its set, if no other is.
    """
    missed = ranks.filter((pl.col("draw") == 0) & (pl.col("rank") > 1)).drop_nulls(["other", "other_cosine", "cosine"])
    own, first = (pl.col(name).replace_strict(label, default=None, return_dtype=pl.Int64) for name in NAMES)
    margin, is_copy = pl.col("other_cosine") - pl.col("cosine"), (own == first).fill_null(value=False)
    by_margin = missed.with_columns(margin=margin, is_copy=is_copy).sort("margin", "image_id", descending=[True, False])
    turns = by_margin.with_columns(turn=pl.int_range(pl.len()).over("view"))
    ordered = turns.sort("turn", "margin", descending=[False, True], maintain_order=True)
    shown, copies = ordered.head(MISSES), ordered.filter("is_copy").head(1)
    return (shown if shown["is_copy"].any() or copies.is_empty() else shown.head(MISSES - 1).vstack(copies)).to_dicts()


def misses(page: PageInput) -> Json | None:
    """Returns what the first screen shows of queries that do not find their original."""
    reader, ranks = page.reader, page.data.table("search_ranks")
    if ranks is None:
        return None
    copied = near_copies(reader) if counts_copies(reader) else {}
    rows = search_misses(ranks, copied)
    keys = [key for row in rows for key in ((row["image_id"], row["view"]), (row["image_id"], ORIGINAL))]
    shown = thumbnails(reader, [*keys, *((row["other"], ORIGINAL) for row in rows)])
    return {
        "missed": ranks.filter(pl.col("rank") > 1).height,
        "copies": misses_in_words(reader),
        "rows": [
            row
            | {
                "query": shown[row["image_id"], row["view"]],
                "first": shown[row["other"], ORIGINAL],
                "own": shown[row["image_id"], ORIGINAL],
            }
            for row in rows
        ],
    }


def rate_in_words(rate: float) -> str:
    denominator = 100
    while round(rate * denominator) < 1 or abs(rate * denominator - round(rate * denominator)) > 1e-9:
        denominator *= 10
        if denominator > 10**9:
            return f"{rate:g}"
    return f"{round(rate * denominator):,} in {denominator:,}"


def duplicates_content(page: PageInput, pairs: pl.DataFrame) -> Json:
    groups, thresholds = duplicate_groups(pairs)[:GROUPS], page.data.table("thresholds")
    gallery = page.reader.kept_settings(copies.NAME).get("gallery", "").partition("|")[0]
    between = page.reader.table(copies.NAME) if gallery else None
    return found_duplicates(page, pairs) | {
        "thresholds": [] if thresholds is None else thresholds.to_dicts(),
        "rate_in_words": rate_in_words,
        "is_whitened": pairs["whitened"].count() > 0,
        "groups": groups,
        "between": None if between is None else between.head(SHOWN).to_dicts(),
        "copies": None if between is None else (len(between), int(between["exact"].sum())),
        "copied_from": page.reader.naming.setting(gallery),
        "images_of": thumbnails(page.reader, [(image_id, ORIGINAL) for group in groups for image_id in group["ids"]]),
    }


def duplicate_groups(pairs: pl.DataFrame) -> list[Json]:
    groups = []
    for part in pairs.partition_by("group", maintain_order=True) if len(pairs) else ():
        ids = list(dict.fromkeys(image_id for row in part.select("image_id", "other").iter_rows() for image_id in row))
        cosines = part["cosine"].sort().to_list()
        ends = dict.fromkeys(fixed(cosine, 4) for cosine in (cosines[0], cosines[-1]))
        groups.append({"count": len(ids), "ids": ids[:IMAGES], "cosine": " to ".join(ends)})
    return groups


def answer(page: PageInput) -> Answer | None:
    table = page.data.table("search")
    if table is None:
        pairs = page.reader.table("duplicates")
        return None if pairs is None else Answer("Which images are duplicates?", found_duplicates(page, pairs))
    least_safe = f"{LEAST_SAFE} {page.data.group_word}s" if page.data.group_count < LEAST_SAFE else None
    content = recall_summary(page, table) | {"near": near_duplicates(page.reader), "least_safe": least_safe}
    return Answer("Does image search still find the original?", content)


def found_duplicates(page: PageInput, pairs: pl.DataFrame) -> Json:
    counts = {"pairs": len(pairs), "groups": pairs["group"].n_unique(), "images": images_in(pairs)}
    return {"duplicates": counts, "rule": rule_in_words(settings(page.reader).for_duplicates, page.data.group_count)}


def recall_summary(page: PageInput, table: pl.DataFrame) -> Json:
    gallery = page.reader.kept_settings("search_ranks").get("gallery", "").partition("|")[0]
    chance = 1 / searched_images(page)
    return {
        "recall": recall_extremes(table),
        "chance": in_percent(chance)[0] if chance >= CHANCE else "",
        "images": page.data.images,
        "queried": min(settings(page.reader).queries or page.data.images, page.data.images),
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
    ends = [(row["ci_low"], row["ci_high"]) for row in rows if row["ci_low"] is not None]
    low, high = (min(low for low, _ in ends), max(high for _, high in ends)) if ends else (None, None)
    return {"names": [row["augmentation"] for row in rows], "recall": in_percent(rows[0]["value"], low, high)}


def near_duplicates(reader: Reader) -> Json | None:
    """Returns how many images have a near-duplicate in another group; None if few have."""
    if not reader.info.has_vectors or not reader.augmentations:
        return None
    label, apart = near_copies(reader), list[tuple[str, str]]()
    if "threshold" not in reader.kept_settings("duplicates"):  # so that page and search count the same images
        apart = list(reader.need("duplicates").select(NAMES).iter_rows())
    ids = list(dict.fromkeys([*label, *itertools.chain.from_iterable(apart)]))
    groups = reader.groups_of(ids)
    group_of = dict(zip(ids, ids if groups is None else groups.tolist(), strict=True))
    members = Counter(copies for copies, _ in {(label[image_id], group_of[image_id]) for image_id in label})
    images = {image_id for image_id, copies in label.items() if members[copies] > 1}
    images |= {image_id for pair in apart if group_of[pair[0]] != group_of[pair[1]] for image_id in pair}
    count = reader.image_rows.layout.images
    return None if len(images) < SIZEABLE * count else {"images": len(images), "of": count}


TERMS = {
    "recall@k": "The fraction of searches whose correct result is among the first k.",
    "rank": "The position of a view's original in its search: 1 + the number of other images at least as close.",
    "mean reciprocal rank": "The mean of 1 / rank of the correct result; 1 = always first.",
    "neighbours kept": "The fraction of an original's ten nearest images that are also among the view's ten nearest.",
    "false-match rate": "The fraction of pairs of different images whose cosine reaches a threshold.",
    "area under the curve": "The probability that a view is closer to its original than two different images are to "
    "each other; 1 = always.",
    "likely duplicates": "Pairs of images nearer than different images are expected to be. Check them by eye.",
}
CORRECTED = {"Recall, ranks, thresholds and matches of a search": "Not corrected."}

PART = Part(section, answer=answer, misses=misses, terms=TERMS, corrected=CORRECTED)
