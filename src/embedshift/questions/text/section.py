"""Against text: what the section on captions, class names and words says."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from embedshift.augmentations import ORIGINAL
from embedshift.config import Json
from embedshift.questions.text.tables import ALL, PERMUTATIONS
from embedshift.report.numbers import MISSING, fixed, interval_decimals
from embedshift.report.section import PageInput, Part, Section
from embedshift.statistics.intervals import APPROXIMATE_BELOW, LEAST_IMAGES

CHANCE = 0.05


def section(page: PageInput) -> Section:
    """Against text."""
    figures = {"figure": page.figures.get("text"), "words_figure": page.figures.get("words")}
    content = against(page.reader.identity_of("text"), page.data.table("word_test")) | figures
    return Section("text", "Against text", 70, {"text": content})


def against(asked: Mapping[str, Any], test: pl.DataFrame | None) -> Json:
    """What the section shows beside its figures.

    Args:
        asked: The texts of the study, as study.json has them.
        test: As `Study.word_test`; None without words.

    Returns:
        `captions`, how many images have one; `labels`, how many classes; `templates`; `original`, the phrase of the
        original; `rows`, one per augmentation with a word: its phrase, the mean cosine with it and with the others',
        its rank, and whether it points to its own word; `verdict`, what the test says, empty where there is none.

    Example:
        >>> against({"labels": {"count": 3}, "templates": ["a photo of a {}."]}, None)["labels"]
        3
    """
    phrases = asked.get("words", {})
    rows = [] if test is None else test.filter(pl.col("rank").is_not_null()).to_dicts()
    return {
        "captions": asked.get("captions", {}).get("count", 0),
        "labels": asked.get("labels", {}).get("count", 0),
        "templates": asked.get("templates", []),
        "original": phrases.get(ORIGINAL, ""),
        "rows": [
            {
                "augmentation": row["augmentation"],
                "phrase": phrases[row["augmentation"]],
                "own": fixed(row["own"], 3),
                "others": fixed(row["others"], 3),
                "rank": f"{row['rank']} of {len(rows)}",
                "points": pointing(row),
            }
            for row in rows
        ],
        "verdict": "" if test is None else verdict(test),
    }


def points(row: Mapping[str, Any]) -> bool:
    """Whether an augmentation points to its own word: the nearest one, with cosine and lead settled above 0."""
    return bool(row["rank"] == 1 and (row["own_low"] or 0) > 0 and row["settled"] and row["difference"] > 0)


def pointing(row: Mapping[str, Any]) -> str:
    """The same in words; a dash without intervals.

    Example:
        >>> pointing({"rank": 3, "own_low": 0.1, "own_high": 0.2, "high": -0.1}), pointing({"own_low": None})
        ('no', '–')
    """
    if row["own_low"] is None:
        return MISSING
    if points(row):
        return "yes"
    return "no" if row["own_high"] < 0 or (row["high"] or 0) < 0 else "not settled"


def verdict(test: pl.DataFrame) -> str:
    """The test of words as a sentence or two; nothing where there was none.

    Example:
        >>> all = {"augmentation": "all", "n": 50, "rank": None, "own": 0.2, "own_low": 0.18, "own_high": 0.22}
        >>> all |= {"others": 0.05, "difference": 0.15, "p_value": 0.0001, "settled": None}
        >>> rows = [all | {"augmentation": name, "rank": 1, "settled": True, "p_value": None} for name in "abc"]
        >>> print(verdict(pl.DataFrame([*rows, all])))
        The mean cosine of a shift is 0.200 with its own word and 0.050 with the others: a lead of 0.150. Of 10,000
        random exchanges of the words 0 gave a lead as large or larger (p = 0.0001). The 95 % interval of the first
        cosine is 0.180 to 0.220. Augmentations whose own word is the nearest, with cosine and lead settled above 0: 3
        of 3. So the shifts point to their words.
    """
    found = test.filter(pl.col("augmentation") == ALL, pl.col("p_value").is_not_null()).to_dicts()
    if not found:
        return ""
    row = found[0]
    reached = round(row["p_value"] * (1 + PERMUTATIONS)) - 1
    places = 3 if row["own_low"] is None else interval_decimals(row["own_low"], row["own_high"], 3)
    own, others, difference = (fixed(row[name], places) for name in ("own", "others", "difference"))
    numbers = (
        f"The mean cosine of a shift is {own} with its own word and {others} with the others: a lead of {difference}. "
        f"Of {PERMUTATIONS:,} random exchanges of the words {reached:,} gave a lead as large or larger "
        f"(p = {row['p_value']:.2g})."
    )
    each = test.filter(pl.col("rank").is_not_null()).to_dicts()
    return f"{numbers} {_meaning(row, sum(map(points, each)), len(each), places)}"


def _meaning(row: Mapping[str, Any], found: int, words: int, places: int) -> str:
    """What the numbers allow to be said."""
    if row["own_low"] is None or row["own_high"] is None:
        few = f"Fewer than {LEAST_IMAGES} images moved" if (row["n"] or 0) < LEAST_IMAGES else "There is no interval"
        return f"{few}: these numbers allow no conclusion."
    about = f", approximate for fewer than {APPROXIMATE_BELOW} images," if row["n"] < APPROXIMATE_BELOW else ""
    ends = f"{fixed(row['own_low'], places)} to {fixed(row['own_high'], places)}"
    interval = f"The 95 % interval of the first cosine{about} is {ends}"
    if row["own_high"] < 0:
        return f"{interval}: the shifts point away from their words."
    if row["own_low"] <= 0:
        return f"{interval}: nothing shows that the shifts point towards their words."
    counted = (
        f"{interval}. Augmentations whose own word is the nearest, with cosine and lead settled above 0: "
        f"{found} of {words}."
    )
    if row["p_value"] < CHANCE and 2 * found > words:
        return f"{counted} So the shifts point to their words."
    return f"{counted} That does not show that the shifts in general point to their words."


TERMS = {
    "caption": "A text that says what an image shows.",
    "zero-shot": "Naming an image without training for it, by the class whose text fits best.",
    "flip": "A view is given to another class than its original.",
}
CORRECTED = {"Whether a shift points to its own word": "All augmentations, and one permutation test for all."}

PART = Part(section, terms=TERMS, corrected=CORRECTED)
