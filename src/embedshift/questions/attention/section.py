"""The report's section on attention: its sentences, from the tables alone."""

from collections.abc import Iterator, Sequence

import polars as pl

from embedshift.config import Json
from embedshift.questions.attention.columns import ALIGNED, DIVERGENCE, RISE, ROLLOUT
from embedshift.questions.attention.figures import metrics_of
from embedshift.questions.attention.tables import ALIGNMENT, SCHEMA, SPREAD
from embedshift.report.facts import ATTENTION
from embedshift.report.numbers import fixed, interval_decimals, listed
from embedshift.report.section import PageInput, Part, Section
from embedshift.statistics.differences import Order, ordered
from embedshift.statistics.intervals import APPROXIMATE_BELOW, LEAST_IMAGES

Row = Json


def section(page: PageInput) -> Section | None:
    """Returns the section; None if there is only the paper's attention metric."""
    data, metrics = page.data, metrics_of(page.data)
    if not metrics:
        return None
    kind = ATTENTION.get(page.info.encoder.attention_kind or "", "means over heads")
    content: Json = {"has": metrics, "kind": kind, "figure": page.figures.get("attention_change")}
    table = data.table("looks")
    content["has_intervals"] = table is not None and table["low"].count() > 0
    content["sentences"] = [
        *look_sentences(table, metrics),
        *extremes(data.summary, metrics, data.table("differences")),
    ]
    return Section("looks", "Attention", {"looks": content})


def look_sentences(table: pl.DataFrame | None, metrics: Sequence[str]) -> list[str]:
    """Describes the table `looks` in plain text."""
    table = pl.DataFrame(schema=SCHEMA) if table is None else table
    sentences: list[str] = []
    if ALIGNED in metrics:
        sentences += _alignment_sentences(table.filter(what=ALIGNMENT).to_dicts())
    if RISE in metrics:
        sentences += _entropy_sentences(table.filter(what=SPREAD).to_dicts())
    if table.filter(pl.col("n").is_between(LEAST_IMAGES, APPROXIMATE_BELOW - 1)).height:
        sentences.append(f"Intervals of fewer than {APPROXIMATE_BELOW} images are approximate.")
    return sentences


def _alignment_sentences(rows: Sequence[Row]) -> Iterator[str]:
    """Yields under which augmentations attention moves with the image."""
    follows, stays, unchanged, few = _by_significance(rows)
    if follows:
        yield f"The movement of the image explains part of the change under {listed(map(_value, follows))}."
    if stays:
        yield f"Attention stays in place rather than following the image under {listed(map(_value, stays))}."
    if unchanged:
        yield f"Alignment makes no significant difference under {listed(map(_value, unchanged))}."
    yield from _few_images_sentence(few, "change by alignment")
    if not any(row["n"] for row in rows):
        yield "Alignment changes nothing: no alignable augmentation moves pixels."
    if unalignable := [row["augmentation"] for row in rows if not row["n"]]:
        yield f"Attention maps cannot be aligned under {listed(unalignable)}."


def _entropy_sentences(rows: Sequence[Row]) -> Iterator[str]:
    """Yields where attention spreads or gathers, and where neither is significant."""
    spreads, gathers, unchanged, few = _by_significance(rows)
    parts = {"spreads out": spreads, "concentrates": gathers}
    phrases = [f"{word} under {listed(_value(row, ' nats') for row in part)}" for word, part in parts.items() if part]
    if phrases:
        yield f"Attention {' and '.join(phrases)}."
    if unchanged:
        yield f"Its entropy does not change significantly under {listed(_value(row, ' nats') for row in unchanged)}."
    yield from _few_images_sentence(few, "entropy rise")


def _by_significance(rows: Sequence[Row]) -> tuple[list[Row], list[Row], list[Row], list[Row]]:
    """Splits rows into significant above 0, significant below 0, not significant, too few images; drops empty ones."""
    few = [row for row in rows if 0 < row["n"] < LEAST_IMAGES]
    tested = [row for row in rows if row["n"] >= LEAST_IMAGES]
    above = [row for row in tested if row["significant"] and row["difference"] > 0]
    below = [row for row in tested if row["significant"] and row["difference"] < 0]
    return above, below, [row for row in tested if not row["significant"]], few


def _few_images_sentence(rows: Sequence[Row], words: str) -> Iterator[str]:
    if rows:
        names = listed([f"{row['augmentation']} ({fixed(row['difference'], 3)})" for row in rows])
        yield f"The mean {words} cannot be tested with fewer than {LEAST_IMAGES} images: {names}."


def extremes(summary: pl.DataFrame, metrics: Sequence[str], differences: pl.DataFrame | None = None) -> list[str]:
    """Returns under which augmentations attention changes most and least, as far as the pairs settle it."""
    sentences: list[str] = []
    for metric, words, unit, most_first in (
        (DIVERGENCE, "The mean divergence of the maps is", " bits", True),
        (ROLLOUT, "The mean similarity of the rollout maps is", "", False),
    ):
        part = summary.filter(pl.col("metric") == metric, pl.col("mean").is_not_null())
        part = part.filter(pl.col("images") >= LEAST_IMAGES)
        order = part.sort("mean", descending=most_first, maintain_order=True).to_dicts()
        if metric in metrics and len(order) > 1:
            ends = ("largest", "smallest") if most_first else ("lowest", "highest")
            names = [row["augmentation"] for row in order]
            by_pairs = None if differences is None else ordered(differences, metric, names)
            sentences += _extremes_sentences(order, words, unit, ends, by_pairs)
    return sentences


def _extremes_sentences(
    rows: Sequence[Row], words: str, unit: str, ends: tuple[str, str], order: Order | None
) -> Iterator[str]:
    """Yields the range of the means, and which augmentations the pairs leave for its ends."""
    shown = {row["augmentation"]: f"{row['augmentation']} ({fixed(row['mean'], 3)}{unit})" for row in rows}
    if rows[0]["mean"] == rows[-1]["mean"]:
        yield f"{words} equal under all augmentations ({fixed(rows[0]['mean'], 3)}{unit})."
    elif order is None or not order.significant:
        first, last = (f"{fixed(row['mean'], 3)}{unit} ({row['augmentation']})" for row in (rows[0], rows[-1]))
        none = "" if order is None else ", without a significant difference between augmentations"
        yield f"{words} between {first} and {last}{none}."
    else:
        for end, names in zip(ends, (order.most, order.least), strict=True):
            tied = f", without a significant difference between these {len(names)}" if len(names) > 1 else ""
            yield f"{words} {end} under {listed(shown[name] for name in names)}{tied}."


def _value(row: Row, unit: str = "") -> str:
    """Formats an augmentation with its difference and interval."""
    name, low, high = row["augmentation"], row["low"], row["high"]
    if low is None or high is None:
        return f"{name} ({fixed(row['difference'], 3)}{unit})"
    places = interval_decimals(low, high)
    return f"{name} ({fixed(row['difference'], places)} [{fixed(low, places)} to {fixed(high, places)}]{unit})"


TERMS = {
    "attention map": "How much weight the encoder gives to each patch of an image.",
    "entropy": "How widely attention is spread: 0 = all on one patch.",
    "rollout": "The attention of all layers, multiplied.",
}
CORRECTED = {"Whether attention follows the image, spreads out or concentrates": "Corrected over all augmentations."}

PART = Part(section, terms=TERMS, corrected=CORRECTED)
