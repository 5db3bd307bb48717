"""Against text: what the section on captions, class names and words says."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from embedshift.augmentations import ORIGINAL
from embedshift.config import Json
from embedshift.questions.text.tables import ALL, PERMUTATIONS
from embedshift.report.numbers import fixed
from embedshift.report.section import PageInput, Part, Section

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
        and its rank; `verdict`, what the permutation test says, empty where there is none.

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
            }
            for row in rows
        ],
        "verdict": "" if test is None else verdict(test),
    }


def verdict(test: pl.DataFrame) -> str:
    """The permutation test in words; nothing where there was none.

    Example:
        >>> row = {"augmentation": "all", "own": 0.2, "others": 0.05, "difference": 0.15, "p_value": 0.0001}
        >>> print(verdict(pl.DataFrame([row])))
        On average a shift has a cosine of 0.200 with its own word and of 0.050 with the others': a lead of 0.150. Of
        10,000 random exchanges of the words 0 gave as large a lead or a larger one (p = 0.0001): chance hardly does
        that, so the shifts point to their words.
    """
    found = test.filter(pl.col("augmentation") == ALL, pl.col("p_value").is_not_null()).to_dicts()
    if not found:
        return ""
    row = found[0]
    reached = round(row["p_value"] * (1 + PERMUTATIONS)) - 1
    if row["p_value"] < CHANCE:
        meaning = "chance hardly does that, so the shifts point to their words"
    else:
        meaning = "chance does that too, so nothing says that the shifts point to their words"
    return (
        f"On average a shift has a cosine of {fixed(row['own'], 3)} with its own word and of {fixed(row['others'], 3)} "
        f"with the others': a lead of {fixed(row['difference'], 3)}. Of {PERMUTATIONS:,} random exchanges of the words "
        f"{reached:,} gave as large a lead or a larger one (p = {row['p_value']:.2g}): {meaning}."
    )


PART = Part(section)
