"""The report's section on the worst case within a budget: relative shifts by eps, controls, purifiers, and images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from embedshift.arrays import Pixels
from embedshift.augmentations import ORIGINAL
from embedshift.config import Json
from embedshift.questions.worst_case import NATURAL
from embedshift.report.numbers import at_places, decimals, fixed, with_interval
from embedshift.report.section import PageInput, Part, Section, panel
from embedshift.sources.views_file import AttackRecord, read_attack_record
from embedshift.statistics.summary import COSINE
from embedshift.store.reader import Reader
from embedshift.store.redraw import RedrawnImage, iter_redrawn

# Columns of the table of purifiers.
PURIFIED = ("clean", "before", "after", "recovered")
# How many images, variants of each, pixels of a side; and characters of all `data:` addresses together.
IMAGES, VARIANTS, SIDE, BYTES = 2, 3, 224, 400_000
# The factor by which differences are enlarged, around mid grey.
TIMES = 16


def section(page: PageInput) -> Section | None:
    attack = read_attack_record(page.reader.identity_of("worst_case"))
    worst, purify = (page.data.table(name) for name in ("worst", "purify"))
    if (worst is None or worst.is_empty()) and (purify is None or purify.is_empty()):
        return None
    rows, baseline = [] if worst is None else worst.to_dicts(), page.data.baseline(COSINE)
    attacks = [row for row in rows if row["kind"] == "attack" and not row["through"]]
    controls = {(row["norm"], row["eps"]): row["mean"] for row in rows if row["kind"] == "control"}
    content = {
        "attack": attack,
        "attacked": attack and page.reader.naming.setting(attack.encoder),
        "is_transferred": attack and attack.weights_hash != page.info.encoder.weights_hash,
        "encoder": page.encoder,
        "budgets": [
            {"words": budget(row), "mean": row["mean"], "control": controls.get((row["norm"], row["eps"]))}
            for row in attacks
            if row["mean"] is not None
        ],
        "rows": [_row(row) for row in rows],
        "baseline": "" if baseline is None else fixed(baseline, 3),
        "purified": [] if purify is None else [_purified(row, attack) for row in purify.iter_rows(named=True)],
        "columns": PURIFIED,
        "pictures": pictures(page.reader, [row["variant"] for row in attacks]),
    }
    return Section("worst", "Worst case", {"worst": content})


def budget(row: Mapping[str, Any]) -> str:
    return f"{row['eps']:g} of 255 levels" if row["norm"] == "linf" else f"L2 distance {row['eps']:g}"


def _row(row: Json) -> Json:
    kinds = {"control": "random signs", NATURAL: "natural change"}
    attack = f"attack through {row['through']}" if row["through"] else "attack"
    relative_shift = with_interval(row["relative_shift"], row["relative_shift_low"], row["relative_shift_high"])
    return {
        "variant": "" if row["kind"] == NATURAL else row["variant"],
        "budget": row["variant"] if row["kind"] == NATURAL else budget(row),
        "what": kinds.get(row["kind"], attack),
        "n": row["n"],
        "cosine": _cosine(row["mean"], row["ci_low"], row["ci_high"]),
        "relative_shift": relative_shift,
    }


def _purified(row: Mapping[str, Any], attack: AttackRecord | None) -> Json:
    variant = attack.variants.get(row["variant"]) if attack else None
    numbers = [[row[f"{name}{end}"] for end in ("", "_low", "_high")] for name in PURIFIED]
    return {
        "variant": row["variant"],
        "purifier": row["purifier"],
        "known": variant is not None and variant.through == row["purifier"],
        "cells": [_cosine(*values) for values in numbers],
    }


def _cosine(value: float | None, low: float | None, high: float | None) -> tuple[str, str]:
    return at_places(value, low, high, 3 if low is None or high is None else max(3, decimals(low, high)))


def difference(picture: Pixels, original: Pixels) -> Pixels:
    return np.asarray(np.clip(128 + TIMES * (picture.astype(np.int64) - original), 0, 255), np.uint8)


def pictures(reader: Reader, variants: Sequence[str]) -> list[Json]:
    rows, size = list[Json](), 0
    shown = variants[:VARIANTS]
    if not shown or not reader.shows_images:
        return rows
    ids = reader.sample_ids(IMAGES)
    for image_id, image in iter_redrawn(reader, ids, dict.fromkeys(ids, shown)):
        if isinstance(image, str):
            continue
        name, panels = reader.naming.image(image_id), list[Json]()
        for title, picture in _titled(image, shown):
            shown_panel = panel(title, name, picture, SIDE, 60)
            size += len(shown_panel["address"])
            if size > BYTES:
                break
            panels.append(shown_panel)
        rows.append({"image_id": name, "places": panels})
    return rows


def _titled(image: RedrawnImage, variants: Sequence[str]) -> list[tuple[str, Pixels]]:
    original = image.views[ORIGINAL]
    titled = [(ORIGINAL, original)]
    for name, view in ((name, image.views[name]) for name in variants if name in image.views):
        titled += [(name, view), (f"{name}: difference × {TIMES}", difference(view, original))]
    return titled


TERMS = {
    "budget": "How much an attack may change the pixels of an image. linf: the largest change of a value, in levels of "
    "255. l2: the root of the summed squares of all changes, with values in [0, 1].",
    "random signs": "The control for an attack: every value goes up or down at random, as far as the budget allows.",
    "purifier": "A fixed change of an image before it is encoded, such as JPEG, that may undo an attack. Static: the "
    "attack did not know the purifier.",
    "recovered": "The fraction of a variant's shift that a purifier undoes: (after − before) / (1 − before).",
}
CORRECTED = {"The worst case within a budget": "Not corrected: each interval is made for 95 % by itself."}

PART = Part(section, terms=TERMS, corrected=CORRECTED)
