"""Proposes first rules: the margins within which a study is equal to its reference; as comments, absolute bounds."""

import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path

import numpy as np
import polars as pl

from embedshift.config import Json
from embedshift.errors import UsageError
from embedshift.statistics.agreement import METRICS
from embedshift.statistics.halves import BELOW, compared_halves, margins_of
from embedshift.statistics.intervals import LEAST_IMAGES
from embedshift.statistics.shift_ratios import SATURATED
from embedshift.statistics.summary import COSINE
from embedshift.statistics.vectors import ROTATIONS
from embedshift.store.embeddings import vectors_of
from embedshift.store.groups import Choice
from embedshift.store.reader import Reader
from embedshift.study.paired.differences import ALL, RELATIVE_SHIFT
from embedshift.study.paired.studies import measured_range, tolerance_estimate
from embedshift.study.shown import printable
from embedshift.study.study import Study, as_study

# A bound, and the change that breaks it in 80 % of studies.
Margin = tuple[float, float]


def margins(reader: Reader, included: Sequence[str]) -> tuple[dict[str, Margin], dict[str, Margin], dict[str, float]]:
    """Bounds of equal encoders: ratios, falls of recall@1 (by augmentation, "all" of several), agreement by metric."""
    originals, views = vectors_of(reader)
    in_all = np.isin(reader.augmentations, included)
    compared = [*compared_halves(originals, views, in_all, reader.info.seed, reader.first_groups(len(originals)))]
    *by_augmentation, floors = margins_of(compared, reader.info.group_count)
    names = [ALL, *reader.augmentations] if in_all.sum() > 1 else reader.augmentations
    ratio, recall = (
        dict(zip(names, zip(*np.roll(numbers, 1, axis=1)[:, -len(names) :].tolist(), strict=True), strict=True))
        for numbers in by_augmentation
    )
    return ratio, recall, dict(zip(METRICS, floors.tolist(), strict=True))


_HEAD = """\
# Rules for `embedshift check`, against {study}, from {study}: {encoder}, {images} images.
#
# Equal encoders are random halves of this encoder's dimensions, drawn {rotations} times: these rules keep them.
# Behind a rule stands the change that breaks it in 80 % of studies of as many images that differ as the halves do.
# A row is kept if its 95 % interval is within the bound, broken if the whole interval is beyond it, else undecided.
# Widen or narrow the margins as your product needs.

rules:
"""
_RATIO = f"""\
  # How many times as far the embedding may move; "{ALL}": the geometric mean over the augmentations whose relative
  # shift here is below {SATURATED:g}.
"""
_RECALL = "  # How much of recall@1, the views whose original ranks first, may be lost.\n"
_AGREEMENT = f"""\
  # Whether both encoders see the same neighbours: {BELOW:g} standard deviations below the mean of the halves. The value
  # decides, because the halves are of the same images. Delete these rules if the new encoder is of another kind.
"""
_ABSOLUTE = "  # Bounds on a study alone, which this one keeps: ends of its intervals. Without # they are rules.\n"


def propose(study: Study | str | Path, file: str | Path = "rules.yaml", groups: Choice | None = None) -> Path:
    """Writes a commented file of rules that a study keeps that is equal to this one, and nothing into the study."""
    study, path = as_study(study), Path(file)
    if not study.is_complete():
        raise study.reader().unfinished()
    study = study.with_groups(groups)
    reader = study.reader()
    info, name = reader.info, printable(study.folder.name)
    if info.group_count < LEAST_IMAGES:
        words = f"{info.group_count} {'groups of ' if info.groups else ''}images"
        raise UsageError(f"{study.folder}: {words} are too few for intervals; measure {LEAST_IMAGES} or more")
    if not info.has_vectors or info.encoder.dim < 2:
        raise UsageError(f"{study.folder}: no embeddings here to take margins from; run it with `store` all")
    encoder = printable(reader.naming.setting(info.encoder.name))
    text = _HEAD.format(study=name, encoder=encoder, images=info.counts.measured, rotations=ROTATIONS)
    text += "\n".join(_paired_rules(study, reader))
    if bounds := [*_absolute_bounds(study, reader)]:
        text += "\n" + _ABSOLUTE + _lines(bounds, "  # - ")
    try:
        with path.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError as error:
        raise UsageError(f"{path}: is there already; name another file with `rules`, or delete it") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
    return path


def _lines(rules: Iterable[Json], start: str = "  - ", broken: Iterable[str] = itertools.repeat("")) -> str:
    flat = (re.sub(r'"(\w+)": ', r"\1: ", json.dumps(rule, ensure_ascii=False)) for rule in rules)
    return "".join(f"{start}{line}{change}\n" for line, change in zip(flat, broken, strict=False))


def _paired_rules(study: Study, reader: Reader) -> Iterator[str]:
    shifts = _shifts(study)
    ratio, recall, floors = margins(reader, [name for name, (value, _) in shifts.items() if value < SATURATED])
    moved = {name: margin for name, margin in ratio.items() if name in shifts or name == ALL}

    def rules(of: Json, bound: str, step: str, sign: int, found: Mapping[str, Margin], unit: str = "") -> str:
        numbers = {name: [sign * rounded(number, step, up=True) for number in pair] for name, pair in found.items()}
        broken = (f"  # broken from {change}{unit}" for _, change in numbers.values())
        return _lines(
            (of | {"augmentation": name, bound: least} for name, (least, _) in numbers.items()), broken=broken
        )

    ratios = {"table": "comparison", "metric": RELATIVE_SHIFT, "column": "ratio"}
    words = "  # No rules of relative shifts: the images are not apart.\n"
    yield _RATIO + rules(ratios, "at_most", "0.01", 1, moved, " times") if moved else words
    falls, words = {"table": "comparison", "metric": "recall@1"}, "  # No rules of recall: this study has no search.\n"
    searched = "search_ranks" in reader.table_names
    yield _RECALL + rules(falls, "at_least", "0.005", -1, recall) if searched else words
    yield _AGREEMENT + _lines(
        {"table": "agreement", "metric": metric, "judge": "value", "at_least": rounded(floor, "0.005", up=False)}
        for metric, floor in floors.items()
    )


def _shifts(study: Study) -> dict[str, tuple[float, float]]:
    rows = study.summary().filter(pl.col("metric") == COSINE).drop_nulls("relative_shift_high")
    return {
        row["augmentation"]: (row["relative_shift"], row["relative_shift_high"]) for row in rows.iter_rows(named=True)
    }


def _absolute_bounds(study: Study, reader: Reader) -> Iterator[Json]:
    if "tolerance" in reader.table_names:
        for row in study.tolerance().iter_rows(named=True):
            estimate = tolerance_estimate(study, row)
            rises = measured_range(study, row["family"], row["criterion"]).rises
            weak_end = estimate.low if rises else estimate.high
            if math.isfinite(weak_end):
                of = {"table": "tolerance", **{key: row[key] for key in ("family", "criterion", "unit")}}
                yield {**of, "at_least" if rises else "at_most": two_figures(weak_end, up=not rises)}
    if reader.families:
        return
    for name, (_, high) in _shifts(study).items():
        of = {"table": "summary", "metric": COSINE, "column": "relative_shift", "augmentation": name}
        yield {**of, "at_most": rounded(high, "0.01", up=True)}
    if "search" in reader.table_names:
        recall = study.search().filter(pl.col("metric") == "recall@1").drop_nulls("ci_low")
        for name, low in recall.select("augmentation", "ci_low").iter_rows():
            of = {"table": "search", "metric": "recall@1", "augmentation": name}
            if (bound := rounded(low, "0.01", up=False)) > 0:
                yield {**of, "at_least": bound}


def rounded(value: float, step: str, *, up: bool) -> float:
    steps = (Decimal(repr(float(value))) / Decimal(step)).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR)
    return float(steps * Decimal(step))


def two_figures(value: float, *, up: bool) -> float:
    if value == 0:
        return 0.0
    return rounded(value, str(Decimal(1).scaleb(math.floor(math.log10(abs(value))) - 1)), up=up)
