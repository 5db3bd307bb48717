"""The report's section on maps that whiten: what a search finds with each, or the command that measures it."""

import polars as pl

from embedshift.config import Json
from embedshift.questions.whitening.held_out import RECALL
from embedshift.questions.whitening.tables import ALL, IMAGES
from embedshift.report.numbers import fixed, with_interval
from embedshift.report.section import Answer, PageInput, Part, Section

TITLES = {"mrr": "mean reciprocal rank", "neighbours@10": "neighbours kept", "hub": "largest hub"}


def section(page: PageInput) -> Section | None:
    content = measured_maps(page)
    return Section("whitening", "Whitening", {"whitening": content}) if content else None


def answer(page: PageInput) -> Answer | None:
    content = measured_maps(page)
    title, always = "Can it be made less sensitive?", page.data.shows_one_level
    return Answer(title, {"whitening": content}, covers_all_levels=always) if content else None


def measured_maps(page: PageInput) -> Json | None:
    """Returns what a search finds with each map; None if the study stores no vectors, or has no views."""
    if not page.info.has_vectors or not page.data.augmentations:
        return None
    table = page.data.table("whitening")
    if table is None or table.is_empty():
        return {"rows": [], "few": table is not None}
    means = table.filter(augmentation=ALL)
    family_of = {view: family.name for family in page.reader.families for view in family.views}
    best = means.filter("recommended", metric=RECALL).to_dicts()
    return {
        "maps": means["map"].unique(maintain_order=True).to_list(),
        "rows": [
            _row(TITLES.get(str(name), name), rows) for (name,), rows in means.group_by("metric", maintain_order=True)
        ],
        "recall": recall_rows(table.filter(pl.col("augmentation") != ALL, metric=RECALL), family_of),
        "by": "family, mean over levels" if family_of else "augmentation",
        "chosen": best[0] | {"interval": _interval(best[0], 100)} if best else None,
        "images": min(IMAGES, page.data.images),
    }


def recall_rows(recall: pl.DataFrame, family_of: dict[str, str]) -> list[Json]:
    """Returns recall by augmentation, or the mean over the levels of each family."""
    families = pl.col("augmentation").replace(family_of)
    means = recall.group_by(families, "map", maintain_order=True).agg(pl.col("before", "after").mean(), ci_low=None)
    return [_row(name, rows) for (name,), rows in means.group_by("augmentation", maintain_order=True)]


def _row(name: object, rows: pl.DataFrame) -> Json:
    """Returns the value as it is, and with each map the value and the interval of the difference."""
    maps = [{"value": fixed(row["after"], 3), "interval": _interval(row)} for row in rows.iter_rows(named=True)]
    return {"name": name, "cells": [{"value": fixed(rows["before"][0], 3), "interval": ""}, *maps]}


def _interval(row: Json, scale: float = 1) -> str:
    if row["ci_low"] is None:
        return ""
    return with_interval(*(scale * row[name] for name in ("difference", "ci_low", "ci_high")))[1]


TERMS = {"whitening": "A linear map after which originals, or shifts, vary equally in every direction."}

PART = Part(section, answer=answer, terms=TERMS)
