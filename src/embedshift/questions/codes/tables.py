"""The table `codes`: what changed images find among codes of vectors, beside the vectors as they are."""

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from embedshift.config.safe_files import expanded
from embedshift.errors import UsageError
from embedshift.questions.codes import Choices
from embedshift.statistics.coded_search import LEAD, METRICS, Coded, evaluate
from embedshift.statistics.codes import checked, default_names
from embedshift.statistics.equivalence import RECALL, Margins, of_recall
from embedshift.statistics.judged import NUMBERS, Judged, Split, judge, means_of
from embedshift.statistics.sample import group_numbers
from embedshift.statistics.shift_ratios import t_interval
from embedshift.store.embeddings import vectors_of
from embedshift.store.gallery import originals
from embedshift.store.reader import Reader
from embedshift.store.table import Table, rules_of_gains, table_path

log = logging.getLogger(__name__)

ALL, MARGIN = "all", 0.01
SCHEMA = pl.Schema(
    {"code": str, "augmentation": str, "metric": str, "n": int}
    | dict.fromkeys(("bytes_searched", "bytes_stored", *NUMBERS, "outside", "least"), float)
    | {"outcome": str, "needed": int, "gallery": int}
)
Row = tuple[object, ...]


def chosen(reader: Reader) -> tuple[tuple[str, ...], str, float]:
    """Returns the codes, the gallery and the margin: as given, else as they were for the kept table."""
    given, kept, dim = reader.choice(Choices), reader.kept_settings("codes"), reader.info.encoder.dim
    names = [given.codes] if isinstance(given.codes, str) else [*(given.codes or ())]
    codes = [name.strip() for text in names for name in text.split(",") if name.strip()]
    margin = given.recall_margin
    if not codes and given.gallery is None and margin is None and kept:
        place = kept["gallery"] if Path(kept["gallery"]).exists() else ""
        return tuple(json.loads(kept["codes"])), place, float(kept["margin"])
    margin = MARGIN if margin is None else margin
    if not 0 < margin < 1:
        raise UsageError(f"`recall_margin` {margin:g}: give a number above 0 and below 1")
    place = "" if given.gallery is None else str(expanded(given.gallery).absolute())
    return checked(codes or default_names(dim), dim), place, margin


def codes(reader: Reader) -> pl.DataFrame:
    names, path, margin = chosen(reader)
    is_as_kept = replace(reader.choice(Choices), measured=False) == Choices()
    if is_as_kept and not path and reader.kept_settings("codes").get("gallery"):
        log.warning("%s: `gallery` of its table `codes` has moved or is gone; made without", reader.folder)
    searched = originals(reader, path)
    _, views = vectors_of(reader)
    of_views = None if reader.groups is None else group_numbers(reader.groups, len(views))
    split = Split.of(group_numbers(of_views, len(views)), reader.family_of)
    if not split.is_possible:
        return pl.DataFrame(schema=SCHEMA)
    gallery = searched.gallery
    base: Coded | None = None
    rows: list[Row] = []
    for name, coded in evaluate(names, gallery, views.transpose(0, 2, 1, 3), split):
        if isinstance(coded, str):
            log.warning("%s is left out: %s", name, coded)
            continue
        base = base or coded
        rows += (
            (*row, searched.searched)
            for row in _rows(name, base, coded, [*reader.augmentations, ALL], of_views, Margins(recall=margin), reader)
        )
    return pl.DataFrame(rows, SCHEMA, orient="row").fill_nan(None)


def _rows(
    name: str,
    base: Coded,
    coded: Coded,
    augmentations: Sequence[str],
    groups: np.ndarray | None,
    margins: Margins,
    reader: Reader,
) -> Iterator[Row]:
    outside = np.full(len(augmentations), np.nan)
    if coded.outside is not None:
        outside = np.append(coded.outside, coded.outside.mean())
    for metric in METRICS:
        seed, own = reader.info.seed, coded.outcomes[metric]
        if metric == LEAD:
            sample = means_of(own.values, groups)
            numbers = [sample.mean, *t_interval(sample), *np.full((3, len(outside)), np.nan)]
            counts: Judged | None = None
        else:
            counts = judge(base.outcomes[metric], own, groups, seed=seed)
            numbers = [counts.value, *counts.own_interval(), counts.difference, *counts.interval()]
        present = np.isfinite(own.values).sum(axis=(0, 1))
        for place, augmentation in enumerate(augmentations):
            n = int(present.sum() if augmentation == ALL else present[place])
            values = [float(number[place]) if n else np.nan for number in numbers]
            least, outcome, needed = np.nan, None, None
            if metric == RECALL and counts is not None:
                found = of_recall(counts.only(place), margins)
                least, outcome, needed = found.low, found.outcome, found.needed
            size = coded.code.searched, coded.code.stored
            yield (name, augmentation, metric, n, *size, *values, float(outside[place]), least, outcome, needed)


def _settings(reader: Reader) -> dict[str, str]:
    names, gallery, margin = chosen(reader)
    digest = ""
    if gallery:
        status = Path(gallery).stat() if Path(gallery).exists() else None
        digest = hashlib.sha256(f"{status and (status.st_size, status.st_mtime_ns)}".encode()).hexdigest()
    return {
        "groups": reader.info.groups_digest,
        "codes": json.dumps(names),
        "gallery": gallery,
        "gallery_file": digest,
        "margin": f"{margin:.17g}",
    }


def _is_available(reader: Reader) -> bool:
    is_asked = reader.choice(Choices) != Choices() or table_path(reader.folder, "codes").is_file()
    return is_asked and reader.info.has_vectors and bool(reader.augmentations)


TABLES = (
    Table(
        "codes",
        codes,
        is_available=_is_available,
        requires="views and stored embeddings: run it with `store` all",
        settings=_settings,
        doc="What changed images find among codes of vectors, as stores keep them, beside the vectors as they are.",
        choices=Choices(measured=True),
        rules=rules_of_gains("code", "augmentation", "metric", ends=("difference_low", "difference_high")),
    ),
)
