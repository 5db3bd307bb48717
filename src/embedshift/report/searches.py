"""Describes the results of a study's search in sentences."""

from collections.abc import Sequence

import polars as pl
from markupsafe import Markup

from embedshift.config import BUNDLED, Json
from embedshift.report.numbers import MISSING, count, in_percent, listed
from embedshift.store.info import StudyInfo
from embedshift.store.reader import Reader

RECALL = "recall@1"
# Recall from which a search misses few, and below which it misses more than it finds.
SAFE, HALF = 0.95, 0.5
# Augmentations that a sentence names; the others are counted.
NAMED = 6


def sentences(search: pl.DataFrame, among: str) -> list[Markup]:
    """Describes how often a search finds the original first, and under which augmentations it rarely or mostly misses.

    Args:
        search: The table `search`.
        among: What is searched among, in words.

    Returns:
        Sentences as HTML, every name escaped; none for a table without recall.

    Example:
        >>> rows = {"augmentation": ["noise", "blur"], "metric": ["recall@1"] * 2, "value": [0.1, 0.975],
        ...     "ci_low": [0.06, 0.943], "ci_high": [0.15, 0.992]}
        >>> for sentence in sentences(pl.DataFrame(rows), "the 200 images"): print(sentence.striptags())
        A search among the 200 images ranks the original first for 97.5 % [94.3 to 99.2 %] of the views under blur and for 10.0 % [6.0 to 15.0 %] under noise.
        It misses at most 5 % of the views under blur, and more than half of them under noise.
    """  # noqa: E501
    rows = search.filter(pl.col("metric") == RECALL).drop_nulls("value").sort("value", maintain_order=True).to_dicts()
    if not rows:
        return []
    worst, best = rows[0], rows[-1]
    words = Markup("A search among {} ranks the original first for {} of the views under {}").format(
        among, _share(best), Markup("<b>every</b> augmentation") if _alike(rows) else _name(best)
    )
    if not _alike(rows):
        words += Markup(" and for {} under {}").format(_share(worst), _name(worst))
    if len(rows) == 1:
        return [words + "."]
    safe, lost = [row for row in rows if row["value"] >= SAFE][::-1], [row for row in rows if row["value"] < HALF]
    parts = []
    if safe:
        parts.append(Markup("at most {:.0f} % of the views under {}").format(100 * (1 - SAFE), _names(safe, len(rows))))
    if lost:
        whose = "of them" if safe else "of the views"
        parts.append(Markup("more than half {} under {}").format(whose, _names(lost, len(rows))))
    return [words + ".", *([Markup("It misses {}.").format(Markup(", and ").join(parts))] if parts else [])]


def among(reader: Reader, images: int) -> str:
    """Describes what is searched among: the images of the study, and a gallery if the search had one."""
    own = f"the {count(images, 'image')}"
    name = reader.kept_settings("search_ranks").get("gallery", "").partition("|")[0]
    return f"{own} and those of the gallery {reader.naming.setting(name)}" if name else own


def warning(info: StudyInfo, encoder: str) -> str:
    """Returns a warning about the encoder that affects its search; "" if there is none.

    Args:
        info: The content of study.json.
        encoder: The encoder's name.
    """
    if info.encoder.name != BUNDLED:
        return ""
    return (
        f"{encoder} is a weak encoder for image search. Its results do not show how well other encoders search. To "
        "measure your own encoder, run embedshift with its name or its folder as model: see docs/encoders.md."
    )


def _alike(rows: Sequence[Json]) -> bool:
    return len(rows) > 1 and rows[0]["value"] == rows[-1]["value"]


def _share(row: Json) -> Markup:
    value, interval = in_percent(row["value"], row["ci_low"], row["ci_high"])
    return Markup("<b>{}</b>").format(value) + ("" if interval == MISSING else f" [{interval}]")


def _name(row: Json) -> Markup:
    return Markup("<b>{}</b>").format(row["augmentation"])


def _names(rows: Sequence[Json], of: int) -> Markup:
    """Lists augmentations as in a sentence."""
    if len(rows) == of:
        return Markup("every augmentation")
    more = [f"{len(rows) - NAMED} more"] if len(rows) > NAMED else []
    return Markup(listed([*map(_name, rows[:NAMED]), *more]))
