"""Describes the results of a study's search in sentences."""

from collections.abc import Sequence

import polars as pl
from markupsafe import Markup

from embedshift.config import BUNDLED, Json
from embedshift.report.numbers import MISSING, count, in_percent, listed
from embedshift.store.info import StudyInfo
from embedshift.store.labels import labels_of
from embedshift.store.reader import Reader

RECALL = "recall@1"
# Recall from which a search misses few, and below which it misses more than it finds.
SAFE, HALF = 0.95, 0.5
# Augmentations that a sentence names; the others are counted.
NAMED = 6


def sentences(search: pl.DataFrame, among: str) -> list[Markup]:
    """Describes how often a search finds the original first, and under which augmentations it rarely or mostly misses."""
    rows = search.filter(pl.col("metric") == RECALL).drop_nulls("value").sort("value", maintain_order=True).to_dicts()
    if not rows:
        return []
    worst, best = rows[0], rows[-1]
    words = Markup("A search among {} ranks the original first for {} of the views under {}").format(
        among, _fraction(best), Markup("<b>every</b> augmentation") if _alike(rows) else _name(best)
    )
    if not _alike(rows):
        words += Markup(" and for {} under {}").format(_fraction(worst), _name(worst))
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
    name = labels_of(reader.folder, "search_ranks").get("gallery", "").partition("|")[0]
    return f"{own} and those of the gallery {reader.naming.setting(name)}" if name else own


def warning(info: StudyInfo, encoder: str) -> str:
    """Returns a warning about the encoder that affects its search; "" if there is none."""
    if info.encoder.name != BUNDLED:
        return ""
    return (
        f"{encoder} is a weak encoder for image search. Its results do not show how well other encoders search. To "
        "measure your own encoder, run embedshift with its name or its folder as model: see docs/encoders.md."
    )


def _alike(rows: Sequence[Json]) -> bool:
    return len(rows) > 1 and rows[0]["value"] == rows[-1]["value"]


def _fraction(row: Json) -> Markup:
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
