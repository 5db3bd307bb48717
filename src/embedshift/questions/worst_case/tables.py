"""The tables `worst` and `purify`: the variants of an attack by budget, and what purifiers undo."""

import operator
from typing import Any

import numpy as np
import polars as pl

from embedshift.augmentations import ORIGINAL, load_suite
from embedshift.questions.worst_case import NATURAL, SUITE
from embedshift.sources.views_file import read_attack_record
from embedshift.statistics.intervals import mean_interval
from embedshift.statistics.sample import Estimates, estimates_from_values
from embedshift.statistics.summary import COSINE
from embedshift.store.baselines import measurements
from embedshift.store.reader import Reader
from embedshift.store.table import Table

NUMBERS = ("mean", "ci_low", "ci_high", "relative_shift", "relative_shift_low", "relative_shift_high")
WORST_SCHEMA = pl.Schema(
    {"variant": str, "norm": str, "eps": float, "kind": str, "through": str, "n": int} | dict.fromkeys(NUMBERS, float)
)
ENDS = ("", "_low", "_high")
PURIFY_SCHEMA = pl.Schema(
    {"variant": str, "purifier": str, "n": int}
    | {f"{name}{end}": float for name in ("clean", "before", "after", "recovered") for end in ENDS}
)


def worst(reader: Reader) -> pl.DataFrame:
    attack = read_attack_record(reader.identity_of("worst_case"))
    summary = reader.table("summary")
    if attack is None or summary is None:
        return pl.DataFrame(schema=WORST_SCHEMA)
    summary_rows = {row["augmentation"]: row for row in summary.filter(metric=COSINE).iter_rows(named=True)}
    rows = [
        {"variant": name, **vars(variant), **{key: summary_rows[name][key] for key in ("n", *NUMBERS)}}
        for name, variant in attack.variants.items()
        if name in summary_rows
    ]
    rows.sort(key=operator.itemgetter("norm", "eps", "kind", "through"))
    baseline = next((row["baseline"] for row in summary_rows.values()), None)
    return pl.DataFrame([*rows, *_natural(reader, baseline)], schema=WORST_SCHEMA)


def _natural(reader: Reader, baseline: float | None) -> list[dict[str, Any]]:
    originals = reader.rows().filter(pl.col("view") == ORIGINAL).select("image_id", NATURAL).drop_nulls().collect()
    if originals.is_empty():
        return []
    values, groups = np.array(originals[NATURAL].to_list(), np.float64), reader.groups_of([*originals["image_id"]])
    names, sample = load_suite(SUITE).names, estimates_from_values(values, groups)
    low, high = mean_interval(sample, seed=reader.info.seed, low=-1.0, high=1.0)
    rows: list[dict[str, Any]] = []
    for index in np.argsort(sample.mean, kind="stable"):
        mean = float(sample.mean[index])
        words = {"variant": names[index], "kind": NATURAL, "through": "", "n": int(sample.counts[index])}
        shift = None if baseline is None else (1 - mean) / (1 - baseline)
        rows.append(words | dict(zip(NUMBERS, (mean, float(low[index]), float(high[index]), shift), strict=False)))
    return rows


def purify(reader: Reader) -> pl.DataFrame:
    purified = [entry for entry in reader.info.identity["augmentations"].values() if "purifier" in entry]
    pairs = [(entry["of"], entry["purifier"]) for entry in purified if entry["of"] != ORIGINAL]
    views = [view for variant, name in pairs for view in (f"{ORIGINAL}+{name}", variant, f"{variant}+{name}")]
    if any(view not in reader.augmentations for view in views):
        return pl.DataFrame(schema=PURIFY_SCHEMA)
    sample = measurements(reader).for_metric(COSINE, views)
    rows = []
    for index, (variant, name) in enumerate(pairs):
        cosines = sample.columns([3 * index, 3 * index + 1, 3 * index + 2])
        keys = {"variant": variant, "purifier": name, "n": int(cosines.counts[2])}
        rows.append(keys | _numbers(cosines, reader.info.seed))
    return pl.DataFrame(rows, schema=PURIFY_SCHEMA).fill_nan(None)


def _numbers(cosines: Estimates, seed: int) -> dict[str, Any]:
    low, high = mean_interval(cosines, seed=seed, low=-1.0, high=1.0)
    numbers: dict[str, Any] = {}
    for name, *ends in zip(("clean", "before", "after"), cosines.mean, low, high, strict=True):
        numbers |= {f"{name}{end}": float(value) for end, value in zip(ENDS, ends, strict=True)}
    clean, before, after = cosines.mean
    if not before < clean:
        return numbers
    # The mean of after - (1 - r) before is r, and around it a ratio varies as this does over the mean of 1 - before.
    ratio = (after - before) / (1 - before)
    low, high = mean_interval(cosines.combine([[0.0], [ratio - 1], [1.0]]), seed=seed)
    recovered = (ratio, *(ratio + (end[0] - ratio) / (1 - before) for end in (low, high)))
    return numbers | {f"recovered{end}": min(1.0, float(value)) for end, value in zip(ENDS, recovered, strict=True)}


TABLES: tuple[Table[Reader], ...] = (
    Table(
        "worst",
        worst,
        reads=("summary",),
        is_available=lambda reader: reader.identity_of("worst_case"),
        requires="variants that an attack made",
        doc="How far the worst change within a budget moves the embedding, by attack.",
    ),
    Table(
        "purify",
        purify,
        is_available=lambda reader: any(
            "purifier" in entry for entry in reader.info.identity["augmentations"].values()
        ),
        requires="`purify`",
        doc="How much of that shift each purifier undoes.",
    ),
)
