"""The report's section on text: captions, class names and words."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from embedshift.augmentations import ORIGINAL
from embedshift.config import Json
from embedshift.questions.text.tables import ALL, MRR, PERMUTATIONS, QUERIES
from embedshift.report.numbers import MISSING, at_places, fixed, interval_decimals
from embedshift.report.section import PageInput, Part, Section

CHANCE = 0.05


def section(page: PageInput) -> Section:
    figures = {"figure": page.figures.get("text"), "words_figure": page.figures.get("words")}
    content = comparison(page.reader.identity_of("text"), page.data.table("word_test")) | figures
    content["search"] = search_content(page.data.table("text_search"), page.info.counts.measured)
    classes = page.data.table("zero_shot")
    content["classes"] = [] if classes is None else classes.to_dicts()
    return Section("text", "Images and text", {"text": content})


def comparison(identity: Mapping[str, Any], test: pl.DataFrame | None) -> Json:
    phrases = identity.get("words", {})
    rows = [] if test is None else test.filter(pl.col("rank").is_not_null()).to_dicts()
    return {
        "captions": identity.get("captions", {}).get("count", 0),
        "labels": identity.get("labels", {}).get("count", 0),
        "templates": identity.get("templates", []),
        "original": phrases.get(ORIGINAL, ""),
        "rows": [row | {"phrase": phrases[row["augmentation"]], "points": verdict(row)} for row in rows],
        "test": None if test is None else overall(test),
    }


def points_to_own_phrase(row: Mapping[str, Any]) -> bool:
    return bool(row["rank"] == 1 and (row["own_low"] or 0) > 0 and row["significant"] and row["difference"] > 0)


def verdict(row: Mapping[str, Any]) -> str:
    if row["own_low"] is None:
        return MISSING
    if points_to_own_phrase(row):
        return "yes"
    return "no" if row["own_high"] < 0 or (row["high"] or 0) < 0 else "not significant"


def overall(test: pl.DataFrame) -> Json | None:
    overall_rows = test.filter(pl.col("augmentation") == ALL, pl.col("p_value").is_not_null()).to_dicts()
    if not overall_rows:
        return None
    row, single = overall_rows[0], test.filter(pl.col("rank").is_not_null()).to_dicts()
    low, high = row["own_low"], row["own_high"]
    has_interval = low is not None and high is not None
    places = interval_decimals(low, high, 3) if has_interval else 3
    own, interval = at_places(row["own"], low, high, places)
    pointing = sum(map(points_to_own_phrase, single))
    return {
        "own": own,
        "others": fixed(row["others"], places),
        "lead": fixed(row["difference"], places),
        "permutations": PERMUTATIONS,
        "reached": round(row["p_value"] * (1 + PERMUTATIONS)) - 1,
        "p_value": f"{row['p_value']:.2g}",
        "images": row["n"] or 0,
        "interval": interval if has_interval else "",
        "is_below_0": has_interval and high < 0,
        "is_above_0": has_interval and low > 0,
        "augmentations": len(single),
        "pointing": pointing,
        "is_shown": row["p_value"] < CHANCE and 2 * pointing > len(single),
    }


def search_content(table: pl.DataFrame | None, images: int) -> Json | None:
    if table is None or table.is_empty():
        return None
    by_metric = {(row["augmentation"], row["metric"]): row for row in table.iter_rows(named=True)}
    names = table["augmentation"].unique(maintain_order=True)
    first = table.filter(pl.col("metric") == "recall@1", pl.col("value").is_not_null())
    return {
        "rows": {name: (by_metric.get((name, "recall@1")), by_metric[name, MRR]) for name in names},
        "least": None if first.is_empty() else _lowest(first.filter(pl.col("value") == pl.col("value").min())),
        "falling": first.filter(pl.col("high") < 0).height,
        "measured": first.height,
        "images": images,
        "queries": QUERIES,
    }


def _lowest(rows: pl.DataFrame) -> Json:
    row = rows.row(0, named=True)
    ends = {"before": ("before_low", "before_high"), "value": ("ci_low", "ci_high")}
    before, after = (
        (percent(row[name]), "" if row["ci_low"] is None else percent(*(row[end] for end in interval)))
        for name, interval in ends.items()
    )
    return {"names": rows["augmentation"].to_list(), "before": before, "after": after}


def percent(*fractions: float) -> str:
    texts = (fixed(100 * part, 0 if 0.01 <= part <= 0.99 or part in (0, 1) else 1) for part in fractions)
    return f"{' to '.join(texts)} %"


TERMS = {
    "caption": "A text that describes an image.",
    "zero-shot": "Classification without training: the class whose text fits the image best.",
    "flip": "The zero-shot class of a view differs from that of its original.",
    "margin": "How much better the original's class fits than the next class; below 0, the view flipped.",
}
CORRECTED = {"Whether a shift points to its own phrase": "Corrected over all augmentations; one permutation test."}

PART = Part(section, terms=TERMS, corrected=CORRECTED)
