"""The tables `threshold` and `threshold_curve`: what a threshold finds, and at which fraction of wrong queries."""

import logging

import numpy as np
import polars as pl
from numpy.typing import NDArray

from embedshift.arrays import Values
from embedshift.questions.threshold import Choices
from embedshift.questions.threshold.calibration import Calibration, calibrated
from embedshift.questions.threshold.numbers import is_match, score_name, threshold
from embedshift.questions.threshold.settings import (
    TABLE,
    WRONG_QUERIES,
    Asked,
    asked_of,
    is_as_kept,
    lacks,
    settings_of,
)
from embedshift.statistics.intervals import proportion_interval
from embedshift.statistics.judged import ROUNDING, means_of
from embedshift.statistics.retrieval import TIE
from embedshift.store.reader import Reader
from embedshift.store.table import Rules, Table, table_path

log = logging.getLogger(__name__)

CURVE, ALL, WORST = "threshold_curve", "all", "worst"
# Thresholds of a curve; and the fraction of queries with a match at which `wrong_flags` says what is found.
POINTS, HAVING = 100, 0.5
SCHEMA = pl.Schema(
    {"rule": str, "score": str, "augmentation": str, "asked": float, "confidence": float, "threshold": float}
    | {"queries": int, "found": float, "found_low": float, "found_high": float}
)
CURVE_SCHEMA = pl.Schema(
    {"score": str, "wrong": float, "threshold": float, "found": float, "elsewhere": float, "chosen": bool}
    | {"gallery": int, "near_copies": int}
)


def table_of(reader: Reader) -> pl.DataFrame:
    asked, names = asked_of(reader), reader.augmentations
    if is_as_kept(reader) and reader.kept_settings(TABLE).get("gallery", asked.gallery) != asked.gallery:
        log.warning("%s: `gallery` of its table `threshold` has moved or is gone; made without", reader.folder)
    if problem := lacks(reader):  # other groups were chosen since
        log.warning("no thresholds: %s", problem)
        return pl.DataFrame(schema=SCHEMA)
    found = calibrated(reader)
    best, mixed = found.best[found.chosen], found.mixed(found.chosen)
    if asked.rule == WRONG_QUERIES:
        each = [threshold(column, asked.wrong, asked.confidence) for column in best.T]
        limits = {ALL: threshold(mixed, asked.wrong, asked.confidence), **dict(zip(names, each, strict=True))}
        limits[WORST] = max(each)
    else:
        at = flags_limit(curve_of_score(found, found.chosen, asked), asked.wrong, HAVING)
        limits = dict.fromkeys([ALL, *names], at)
    score, rows = score_name(found.scores[found.chosen]), list[tuple[object, ...]]()
    for name, limit in limits.items():
        sample = means_of(is_match(found.own[found.chosen], limit).astype(np.float64)[:, None], None)
        place = names.index(name) if name in names else len(names)
        ends = (float(end[place]) for end in (sample.mean, *proportion_interval(sample)))
        shown = limit if asked.rule == WRONG_QUERIES else None
        rows.append((asked.rule, score, name, asked.wrong, asked.confidence, shown, len(mixed), *ends))
    return pl.DataFrame(rows, SCHEMA, orient="row").fill_nan(None)


def curve(reader: Reader) -> pl.DataFrame:
    if lacks(reader):
        return pl.DataFrame(schema=CURVE_SCHEMA)
    found, asked = calibrated(reader), asked_of(reader)
    return pl.concat([curve_of_score(found, score, asked) for score in range(len(found.scores))])


def curve_of_score(found: Calibration, score: int, asked: Asked) -> pl.DataFrame:
    """Returns what is found at the highest best scores, and at the threshold; the wrong fraction ascends."""
    best, own, others = found.mixed(score), found.own[score], found.others[score]
    count, is_elsewhere = len(best), others >= own - TIE
    places = {*np.round(np.geomspace(1, count, POINTS)).astype(int).tolist()}
    limit = threshold(best, asked.wrong, asked.confidence) if asked.rule == WRONG_QUERIES else np.nan
    if np.isfinite(limit):
        chosen = count - int(np.searchsorted(best, limit, side="left"))
        places.add(chosen)
    rows = list[tuple[object, ...]]()
    for place in sorted(places):
        at = float(best[count - place])
        wrong = _fraction(is_match(others, at) & is_elsewhere)
        is_chosen = score == found.chosen and at == limit
        numbers = place / (count + 1), at, _fraction(is_match(own, at)), wrong
        rows.append((score_name(found.scores[score]), *numbers, is_chosen, found.gallery, found.near_copies))
    table = pl.DataFrame(rows, CURVE_SCHEMA, orient="row")
    if asked.rule != WRONG_QUERIES and score == found.chosen:
        table = table.with_columns(chosen=pl.col("threshold") == flags_limit(table, asked.wrong, HAVING))
    return table


def _fraction(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if values.size else 0.0


def flags_limit(curve: pl.DataFrame, wrong: float, having: float) -> float:
    """Returns the score above which a large batch is flagged, a fraction `having` with a match; ∞ for nothing."""
    p: Values = curve["wrong"].to_numpy()
    part = having * curve["found"].to_numpy() + (1 - having) * p
    places = np.flatnonzero(p <= wrong * part * (1 + ROUNDING))
    return float(curve["threshold"][int(places[-1])]) if len(places) else np.inf


def _is_available(reader: Reader) -> bool:
    is_asked = reader.choice(Choices) != Choices() or table_path(reader.folder, TABLE).is_file()
    return is_asked and reader.info.has_vectors and bool(reader.augmentations)


def _table(name: str, make: object, doc: str, **more: object) -> Table[Reader]:
    requires = "views and stored embeddings: run it with `store` all"
    kept = {"settings": settings_of, "choices": Choices(measured=True)}
    return Table(name, make, is_available=_is_available, requires=requires, doc=doc, **kept, **more)  # type: ignore[arg-type]


RULES = Rules(
    keys=("rule", "augmentation"),
    columns={"found": ("found_low", "found_high"), "threshold": None},
    unit=lambda column, row: "fraction" if column == "found" else "",
    limits=lambda column, row: (0.0, 1.0) if column == "found" else (-3.0, 1.0),
    is_proportion=lambda column, row: column == "found" and row["augmentation"] not in (ALL, WORST),
    subject="augmentation",
)
TABLES = (
    _table(TABLE, table_of, "From which score on it is the same image, by change, and what is found.", rules=RULES),
    _table(CURVE, curve, "What is found at each fraction of queries with a false match, by score."),
)
