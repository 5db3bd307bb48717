"""The table `index`: what changed images find in each index, beside float32, and which is recommended."""

import hashlib
import json
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from embedshift.arrays import Floats, GroupNumbers
from embedshift.augmentations import ORIGINAL
from embedshift.config.safe_files import expanded
from embedshift.errors import UsageError
from embedshift.questions.index import Choices
from embedshift.questions.index.experiment import BLOCK, TIE, Tried, Vectors, experiment
from embedshift.statistics.equivalence import RECALL, Margins, of_recall
from embedshift.statistics.index_parts import FLOAT32, default_indexes, parse
from embedshift.statistics.judged import (
    BEYOND,
    EQUIVALENT,
    NOT_WORSE,
    NUMBERS,
    ONE_SIDED,
    WITHIN,
    Judged,
    Split,
    decide,
    judge,
)
from embedshift.statistics.sample import group_numbers
from embedshift.statistics.vectors import normalised_float32
from embedshift.store.embeddings import images_tried
from embedshift.store.gallery import originals
from embedshift.store.reader import Reader
from embedshift.store.table import Table, rules_of_gains, table_path

log = logging.getLogger(__name__)

ALL, MARGIN, RATE = "all", 0.01, 0.001
# Images, or groups, that make two folds.
LEAST = 4
SCHEMA = pl.Schema(
    {"index": str, "augmentation": str, "metric": str, "gallery": int, "n": int}
    | dict.fromkeys(("bytes_searched", "bytes_stored", *NUMBERS), float)
    | {"outcome": str, "needed": int, "recommended": bool}
)
# Families whose changes are of one kind, although they are no levels of a strength.
KINDS = {"crop_": "crop", "mirror_crop_": "crop"}


def listed(given: str | Sequence[str] | None) -> list[str]:
    """Returns the names of indexes, each of which may be several with commas between them."""
    texts = [given] if isinstance(given, str) else [*(given or ())]
    return [name.strip() for text in texts for name in text.split(",") if name.strip()]


def _is_as_kept(reader: Reader) -> bool:
    """Returns whether no setting is given, so that those of the kept table hold."""
    return replace(reader.choice(Choices), measured=False) == Choices()


def chosen(reader: Reader) -> tuple[tuple[str, ...], str, float, float]:
    """Returns the indexes, the gallery, the margin and the rate: as given, else as they were for the kept table."""
    given, kept, dim = reader.choice(Choices), reader.kept_settings("index"), reader.info.encoder.dim
    if _is_as_kept(reader) and kept:
        place = kept["gallery"] if Path(kept["gallery"]).exists() else ""
        return tuple(json.loads(kept["indexes"])), place, float(kept["margin"]), float(kept["rate"])
    names = listed(given.indexes) or [*default_indexes(dim)]
    for name in names:
        parse(name, dim)
    margin = MARGIN if given.recall_margin is None else given.recall_margin
    rate = RATE if given.false_match_rate is None else given.false_match_rate
    for setting, value in (("recall_margin", margin), ("false_match_rate", rate)):
        if not 0 < value < 1:
            raise UsageError(f"`{setting}` {value:g}: give a number above 0 and below 1")
    place = "" if given.gallery is None else str(expanded(given.gallery).absolute())
    return tuple(dict.fromkeys((FLOAT32, *names))), place, margin, rate


def kind_of(family: str) -> str:
    """Returns what is left out with a family of changes: all crops are one."""
    return next((kind for start, kind in KINDS.items() if family.startswith(start)), family)


def vectors_of(reader: Reader, path: str = "") -> tuple[Vectors, GroupNumbers | None]:
    """Returns unit vectors of a study's first images, whose order is drawn by the seed, and of a gallery."""
    order, count = reader.image_rows.layout, images_tried(reader)
    blocks = [normalised_float32(np.nan_to_num(block)) for block in reader.image_rows.head(count).vectors()]
    every = np.concatenate(blocks)
    views = np.stack([every[:, order.positions(name)] for name in reader.augmentations], axis=2)
    groups = reader.first_groups(count)
    own = group_numbers(groups, count)
    vectors = every[:, order.views.index(ORIGINAL)]
    return Vectors(vectors, views, own, reader.augmentations, _others(reader, path, vectors)), groups


def _others(reader: Reader, path: str, own: Floats) -> Floats:
    """Returns unit vectors of a gallery without the study's own originals, which are known by their direction."""
    if not path:
        return np.zeros((0, own.shape[1]), np.float32)
    found = originals(reader, path)
    others = normalised_float32(np.asarray(found.gallery.vectors[found.images :]))
    equal = np.concatenate(
        [(block @ own.T > 1 - TIE).any(axis=1) for block in np.array_split(others, 1 + len(others) // BLOCK)]
    )
    if equal.any():
        log.warning("%d vectors of the gallery have the direction of an original; they are left out", int(equal.sum()))
    kept: Floats = others[~equal]
    return kept


def table_of(reader: Reader) -> pl.DataFrame:
    names, path, margin, rate = chosen(reader)
    if _is_as_kept(reader) and reader.kept_settings("index").get("gallery", path) != path:
        log.warning("%s: `gallery` of its table `index` has moved or is gone; made without", reader.folder)
    vectors, groups = vectors_of(reader, path)
    split = Split.of(vectors.groups, {name: kind_of(family) for name, family in reader.family_of.items()})
    if not split.is_possible:
        return pl.DataFrame(schema=SCHEMA)
    tried: dict[str, Tried] = {}
    for name, found in experiment(names, vectors, split, rate):
        if isinstance(found, str):
            log.warning("%s is left out: %s", name, found)
        else:
            tried[name] = found
    return rows_of(tried, vectors.names, groups, margin, reader.info.seed)


def rows_of(
    tried: Mapping[str, Tried], augmentations: Sequence[str], groups: GroupNumbers | None, margin: float, seed: int
) -> pl.DataFrame:
    """Returns the rows of the table from what each index finds."""
    base = tried[FLOAT32]
    judged = {
        name: {
            metric: judge(base.outcomes[metric], found.outcomes[metric], groups, seed=seed) for metric in found.outcomes
        }
        for name, found in tried.items()
    }
    best = recommended({name: each[RECALL] for name, each in judged.items()}, tried, augmentations, margin)
    rows = [
        (name, *row, name == best)
        for name, found in tried.items()
        for row in _rows(found, judged[name], [*augmentations, ALL], Margins(recall=margin), level=level_of(judged))
    ]
    return pl.DataFrame(rows, SCHEMA, orient="row").fill_nan(None)


def _rows(
    found: Tried, judged: Mapping[str, Judged], augmentations: Sequence[str], margins: Margins, *, level: float
) -> Iterator[tuple[object, ...]]:
    is_base = found.index.name == FLOAT32
    sizes = found.index.bytes_searched, found.index.bytes_stored
    for metric, each in judged.items():
        none = [np.zeros_like(each.value)] * 3
        numbers = [each.value, *each.own_interval(), *(none if is_base else (each.difference, *each.interval()))]
        for place, name in enumerate(augmentations):
            n = int(each.n[place])
            values = [float(number[place]) if n else np.nan for number in numbers]
            outcome, needed = None, None
            if metric == RECALL and n and not is_base:
                outcome, needed = outcome_of(each.only(place), margins, level)
            yield name, metric, found.searched, n, *sizes, *values, outcome, needed


def outcome_of(judged: Judged, margins: Margins, level: float = ONE_SIDED) -> tuple[str, int | None]:
    """Returns what a difference in recall says of the margin, and about how many images would decide.

    The outcome has one-sided ends at 95 %, as a row alone. The images are those of a recommendation, at its level.
    """
    assert margins.recall is not None
    outcome, needed = WITHIN, of_recall(judged, margins, level=level).needed
    if of_recall(judged, margins).outcome not in (EQUIVALENT, NOT_WORSE):
        low, high = (end.item() for end in judged.interval())
        outcome = decide((low, high), margins.recall)
    return outcome, None if outcome == BEYOND else needed


def level_of(tried: Collection[str]) -> float:
    """Returns the level at which the best of several alternatives is within a margin (Bonferroni); one is float32."""
    return 1 - (1 - ONE_SIDED) / max(1, len(tried) - 1)


def finds_too_little(low: float, margin: float, gallery: int) -> bool:
    """Returns whether the lower end of float32's recall@1 leaves no room for a loss: chance and the margin."""
    return not low > margin + 1 / max(1, gallery)


def recommended(
    judged: Mapping[str, Judged], tried: Mapping[str, Tried], augmentations: Sequence[str], margin: float
) -> str | None:
    """Returns the index of the fewest bytes that is within the margin under every change; None if none is shown to be.

    The level is divided by the number of alternatives (Bonferroni), since the best of many is chosen. Nothing is
    recommended where float32 finds no more than chance and the margin: then no loss could show.
    """
    others = [name for name in judged if name != FLOAT32]
    if not others or finds_too_little(judged[FLOAT32].own_interval()[0][-1], margin, tried[FLOAT32].searched):
        return None
    level, within = level_of(judged), []
    for name in others:
        ends = zip(*judged[name].interval(level), judged[name].n, strict=True)
        if all(decide((low, high), margin) == WITHIN for low, high, n in [*ends][: len(augmentations)] if n):
            within.append(name)
    size = {name: (tried[name].index.bytes_searched, tried[name].index.bytes_stored) for name in within}
    return min(within, key=lambda name: (*size[name], -float(judged[name].value[-1])), default=None)


def _settings(reader: Reader) -> dict[str, str]:
    names, gallery, margin, rate = chosen(reader)
    status = Path(gallery).stat() if gallery and Path(gallery).exists() else None
    digest = hashlib.sha256(f"{status and (status.st_size, status.st_mtime_ns)}".encode()).hexdigest()
    return {
        "groups": reader.info.groups_digest,
        "indexes": json.dumps(names),
        "gallery": gallery,
        "gallery_file": digest if gallery else "",
        "margin": f"{margin:.17g}",
        "rate": f"{rate:.17g}",
    }


def _is_available(reader: Reader) -> bool:
    is_asked = reader.choice(Choices) != Choices() or table_path(reader.folder, "index").is_file()
    return is_asked and reader.info.has_vectors and bool(reader.augmentations)


TABLES = (
    Table(
        "index",
        table_of,
        is_available=_is_available,
        requires="views and stored embeddings: run it with `store` all",
        settings=_settings,
        doc="What changed images find in each index beside float32: other images and changes than it was fitted to.",
        choices=Choices(measured=True),
        rules=rules_of_gains("index", "augmentation", "metric", ends=("difference_low", "difference_high")),
    ),
)
