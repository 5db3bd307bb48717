"""The report's section on maps that whiten: what a search finds with each, or the command that measures it."""

from collections.abc import Mapping, Sequence

import polars as pl

from embedshift.config import Json
from embedshift.questions.whitening.held_out import MAPS
from embedshift.questions.whitening.tables import ALL, IMAGES, RECALL
from embedshift.report.numbers import fixed, with_interval
from embedshift.report.section import PageInput, Part, Section

TITLES = {"mrr": "mean reciprocal rank", "neighbours@10": "neighbours kept", "hub": "largest hub"}


def section(page: PageInput) -> Section | None:
    """Returns the section; None if the study stores no vectors, or has no views."""
    if not page.info.has_vectors or not page.data.augmentations:
        return None
    table = page.data.table("whitening")
    if table is None or table.is_empty():
        return Section("whitening", "Whitening", {"whitening": {"rows": [], "few": table is not None}})
    family_of = {view: family.name for family in page.reader.families for view in family.views}
    content = {
        "maps": [name for name in MAPS if name in table["map"]],
        "rows": metric_rows(table.filter(augmentation=ALL)),
        "recall": recall_rows(table.filter(pl.col("augmentation") != ALL, metric=RECALL), family_of),
        "by": "family, mean over levels" if family_of else "augmentation",
        "chosen": chosen(table),
        "images": min(IMAGES, page.data.images),
    }
    return Section("whitening", "Whitening", {"whitening": content})


def metric_rows(means: pl.DataFrame) -> list[Json]:
    """Returns for each metric its mean over the augmentations as it is, and with each map, with the differences."""
    return [
        {"name": TITLES.get(str(metric), metric), "cells": cells(rows.to_dicts())}
        for (metric,), rows in means.group_by("metric", maintain_order=True)
    ]


def cells(rows: Sequence[Json]) -> list[Json]:
    """Returns the value as it is, and the value and the interval of the difference of each map."""
    maps = [{"value": fixed(row["after"], 3), "interval": _interval(row)} for row in rows]
    return [{"value": fixed(rows[0]["before"], 3), "interval": ""}, *maps]


def _interval(row: Json) -> str:
    return "" if row["ci_low"] is None else with_interval(row["difference"], row["ci_low"], row["ci_high"])[1]


def recall_rows(recall: pl.DataFrame, family_of: Mapping[str, str]) -> list[Json]:
    """Returns recall by augmentation, or the mean over the levels of each family."""
    families = pl.col("augmentation").replace(family_of)
    means = recall.group_by(families, "map", maintain_order=True).agg(pl.col("before", "after").mean())
    return [
        {"name": name, "cells": [fixed(value, 3) for value in (rows["before"][0], *rows["after"])]}
        for (name,), rows in means.group_by("augmentation", maintain_order=True)
    ]


def chosen(table: pl.DataFrame) -> Json | None:
    """Returns the recommended map, with its gain in recall; None if no map helps."""
    rows = table.filter("recommended", augmentation=ALL, metric=RECALL).to_dicts()
    return rows[0] | {"interval": _interval(rows[0])} if rows else None


TERMS = {"whitening": "A linear map after which originals, or shifts, vary equally in every direction."}

PART = Part(section, terms=TERMS)
