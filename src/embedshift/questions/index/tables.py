"""The table `index`: what changed images find in each index, beside float32, and which is recommended."""

import hashlib
import json
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from embedshift.arrays import GroupNumbers
from embedshift.augmentations.copies import CROPS
from embedshift.errors import UsageError
from embedshift.questions.index import Choices
from embedshift.questions.index.experiment import Tried, experiment
from embedshift.questions.index.vectors import Source, possible, refuse_without_vectors
from embedshift.report.next_steps import INDEX, KEEP_INDEX, Step
from embedshift.sources.stores import address_of, is_there, located, state_of
from embedshift.statistics.equivalence import RECALL, Margins, of_recall
from embedshift.statistics.index import SearchIndex, with_maps
from embedshift.statistics.index_parts import FLOAT32, default_indexes, map_files, parse
from embedshift.statistics.judged import BEYOND, NUMBERS, ONE_SIDED, WITHIN, Judged, Split, decide, judge
from embedshift.statistics.strengths import MISSED, MISSED_CRITERION, MeasuredFamily, tolerances_from_curves
from embedshift.store.reader import Reader
from embedshift.store.table import Table, rules_of_gains, table_path

log = logging.getLogger(__name__)

ALL, MARGIN, RATE = "all", 0.01, 0.001
# Images, or groups, that make two folds, and from which on a study is told to try indexes.
LEAST, LEAST_TRIED = 4, 20
SCHEMA = pl.Schema(
    {"index": str, "augmentation": str, "metric": str, "gallery": int, "n": int}
    | dict.fromkeys(("bytes_searched", "bytes_stored", *NUMBERS), float)
    | {"outcome": str, "needed": int, "recommended": bool}
)
TOLERANCE = "tolerance"


def listed(given: str | Sequence[str] | None) -> list[str]:
    """Returns the names of indexes, each of which may be several with commas between them."""
    texts = [given] if isinstance(given, str) else [*(given or ())]
    return [name.strip() for text in texts for name in text.split(",") if name.strip()]


def _is_as_kept(reader: Reader) -> bool:
    """Returns whether no setting is given, so that the settings of the kept table apply."""
    return replace(reader.choice(Choices), measured=False) == Choices()


def chosen(reader: Reader) -> tuple[tuple[str, ...], str, float, float]:
    """Returns the indexes, the gallery, the margin and the rate: as given, else as they were for the kept table."""
    given, kept, dim = reader.choice(Choices), reader.kept_settings("index"), reader.info.encoder.dim
    if _is_as_kept(reader) and kept:
        place = kept["gallery"] if is_there(kept["gallery"]) else ""
        return tuple(json.loads(kept["indexes"])), place, float(kept["margin"]), float(kept["rate"])
    names = listed(given.indexes) or [*default_indexes(dim), *possible(reader)]
    for name in names:
        parse(with_maps(name, dim)[0], dim)
        _refuse_foreign_maps(reader, name)
        refuse_without_vectors(reader, name)
    margin = MARGIN if given.recall_margin is None else given.recall_margin
    rate = RATE if given.false_match_rate is None else given.false_match_rate
    for setting, value in (("recall_margin", margin), ("false_match_rate", rate)):
        if not 0 < value < 1:
            raise UsageError(f"`{setting}` {value:g}: give a number above 0 and below 1")
    place = "" if given.gallery is None else located(given.gallery)
    return tuple(dict.fromkeys((FLOAT32, *names))), place, margin, rate


def _refuse_foreign_maps(reader: Reader, name: str) -> None:
    for file in map_files(name):
        if (fitted := SearchIndex.load(file)).encoder:
            reader.refuse_foreign(fitted, file)


def family_of(reader: Reader) -> dict[str, str]:
    """Returns the family of each augmentation, which is left out as a whole; all crops of `copies` are one family."""
    return {name: "crop" if name in CROPS else family for name, family in reader.family_of.items()}


def table_of(reader: Reader) -> pl.DataFrame:
    names, path, margin, rate = chosen(reader)
    if _is_as_kept(reader) and reader.kept_settings("index").get("gallery", path) != path:
        log.warning("%s: `gallery` of its table `index` has moved or is gone; made without", reader.folder)
    source = Source(reader, path)
    vectors, split = source.plain, Split.of(source.plain.groups, family_of(reader))
    if not split.is_possible:
        return pl.DataFrame(schema=SCHEMA)
    tried: dict[str, Tried] = {}
    lost = [name for name in names if not all(Path(file).exists() for file in map_files(name))]
    for name in lost:
        log.warning("%s is left out: the file of its map has moved or is gone", name)
    names = tuple(name for name in names if name not in lost)
    for name, found in experiment(names, vectors, split, rate, source.variant):
        if isinstance(found, str):
            log.warning("%s is left out: %s", name, found)
        else:
            tried[name] = found
    table = rows_of(tried, vectors.names, source.groups, margin, reader.info.seed)
    return pl.concat([table, tolerances(table, reader.families)])


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


def tolerances(table: pl.DataFrame, families: Sequence[MeasuredFamily]) -> pl.DataFrame:
    """Returns a row of each index and family with a strength: the strength at which too many views are missed."""
    rows = list[Mapping[str, object]]()
    for _, part in table.filter(metric=RECALL).group_by("index", maintain_order=True):
        found = part.select("augmentation", "value", "ci_low", "ci_high").fill_null(np.nan)
        missed = {name: (1 - value, 1 - high, 1 - low) for name, value, low, high in found.iter_rows()}
        same = part.select("index", "gallery", "bytes_searched", "bytes_stored", "recommended").row(0, named=True)
        for row in tolerances_from_curves(families, missed, MISSED_CRITERION, MISSED).iter_rows(named=True):
            views = next(family.views for family in families if family.name == row["family"])
            ends = {"value": row["value"], "ci_low": row["low"], "ci_high": row["high"]}
            n = part.filter(pl.col("augmentation").is_in(views))["n"].min()
            rows.append(same | ends | {"augmentation": row["family"], "metric": TOLERANCE, "n": n})
    return pl.DataFrame(rows, SCHEMA)


def _rows(
    found: Tried, judged: Mapping[str, Judged], augmentations: Sequence[str], margins: Margins, *, level: float
) -> Iterator[tuple[object, ...]]:
    is_base = found.index.name == FLOAT32
    outcomes = outcomes_of(judged[RECALL], margins, level)
    for metric, each in judged.items():
        none = [np.zeros_like(each.value)] * 3
        numbers = [each.value, *each.own_interval(), *(none if is_base else (each.difference, *each.interval()))]
        for place, name in enumerate(augmentations):
            n = int(each.n[place])
            values = [float(number[place]) if n else np.nan for number in numbers]
            outcome, needed = None, None
            if metric == RECALL and n and not is_base:
                outcome = outcomes[place]
                needed = None if outcome == BEYOND else of_recall(each.only(place), margins, level=level).needed
            yield name, metric, found.searched, n, *found.sizes, *values, outcome, needed


def outcomes_of(judged: Judged, margins: Margins, level: float) -> list[str]:
    """Returns what each difference in recall says of the margin: within it at `level`, else worse or beyond at 95 %."""
    assert margins.recall is not None
    ends = zip(judged.interval(level)[0].tolist(), judged.interval()[1].tolist(), strict=True)
    return [decide(each, margins.recall) for each in ends]


def level_of(tried: Collection[str]) -> float:
    """Returns the level of each alternative's interval, after Bonferroni's correction; float32 is no alternative."""
    return 1 - (1 - ONE_SIDED) / max(1, len(tried) - 1)


def finds_too_little(low: float, margin: float, gallery: int) -> bool:
    """Returns whether the lower end of float32's recall@1 leaves no room for a loss: chance and the margin."""
    return not low > margin + 1 / max(1, gallery)


def recommended(
    judged: Mapping[str, Judged], tried: Mapping[str, Tried], augmentations: Sequence[str], margin: float
) -> str | None:
    """Returns the smallest index in bytes that is shown to be within the margin under every change, or None.

    The level is divided by the number of alternatives (Bonferroni), since the best of many is chosen. Nothing is
    recommended where float32 finds no more than chance and the margin: then no loss could show.
    """
    others = [name for name in judged if name != FLOAT32]
    if not others or finds_too_little(judged[FLOAT32].own_interval()[0][-1], margin, tried[FLOAT32].searched):
        return None
    level, within = level_of(judged), []
    for name in others:
        outcomes = zip(outcomes_of(judged[name], Margins(recall=margin), level), judged[name].n, strict=True)
        if all(outcome == WITHIN for outcome, n in [*outcomes][: len(augmentations)] if n):
            within.append(name)
    return min(within, key=lambda name: (*tried[name].sizes, -float(judged[name].value[-1])), default=None)


def try_indexes(reader: Reader) -> Step | None:
    """Returns the command that tries indexes, where a search misses views; or the one that writes the recommended."""
    table, search = reader.table("index"), reader.table("search")
    if table is not None:
        best = table.filter("recommended")["index"].head(1).to_list()
        return Step(f"{best[0]} finds as much in fewer bytes: write it", KEEP_INDEX) if best else None
    if search is None or reader.info.group_count < LEAST_TRIED:
        return None
    highest = search.filter(metric=RECALL)["ci_high"].drop_nulls().to_list()
    return Step("an index of other parts may find more", INDEX) if min(highest, default=1.0) < 1 - MISSED else None


def _settings(reader: Reader) -> dict[str, str]:
    names, gallery, margin, rate = chosen(reader)
    kept = reader.kept_settings("index") if _is_as_kept(reader) else {}
    is_kept = kept.get("gallery") == gallery and address_of(gallery) is not None  # a report asks no server
    maps = "".join(map(_state, dict.fromkeys(file for name in names for file in map_files(name))))
    return {
        "groups": reader.info.groups_digest,
        "indexes": json.dumps(names),
        "gallery": gallery,
        "gallery_file": kept["gallery_file"] if is_kept else _state(gallery) if gallery else "",
        # Of the kept table: its maps may be where they were, seen from another folder.
        "maps": kept.get("maps", maps),
        "margin": f"{margin:.17g}",
        "rate": f"{rate:.17g}",
    }


def _state(path: str) -> str:
    """Returns a hash of the size and time of a file or folder, or of its absence."""
    status = Path(path).stat() if Path(path).exists() else None
    state = state_of(path) if address_of(path) else status and (status.st_size, status.st_mtime_ns)
    return hashlib.sha256(f"{state}".encode()).hexdigest()


def _is_available(reader: Reader) -> bool:
    is_asked = reader.choice(Choices) != Choices() or table_path(reader.folder, "index").is_file()
    return is_asked and reader.info.has_vectors and bool(reader.augmentations)


STEPS = (try_indexes,)
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
