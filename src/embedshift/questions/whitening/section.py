"""The report's section on maps that whiten: what a search finds with each, or the command that measures it."""

import polars as pl

from embedshift.config import Json
from embedshift.questions.whitening.tables import ALL, FITTED, KEPT, RECALL
from embedshift.report.section import Answer, PageInput, Part, Section
from embedshift.statistics.whitening import sentences
from embedshift.store.embeddings import images_tried

TITLES = {
    "mrr": "mean reciprocal rank",
    KEPT: "neighbours kept",
    FITTED: "neighbours kept, fitted",
    "hub": "largest hub",
}


def section(page: PageInput) -> Section | None:
    content = measured_maps(page)
    return Section("whitening", "Whitening", {"whitening": content}) if content else None


def answer(page: PageInput) -> Answer | None:
    content = measured_maps(page)
    title, always = "Can it be made less sensitive?", page.data.shows_one_level
    return Answer(title, {"whitening": content}, covers_all_levels=always) if content else None


def measured_maps(page: PageInput) -> Json | None:
    if not page.info.has_vectors or not page.data.augmentations:
        return None
    table, info = page.data.table("whitening"), page.info
    if table is None:
        return {"rows": {}, "sentences": []}
    groups, tried = info.groups.chosen if info.groups else None, images_tried(page.reader)
    answers = sentences(table, page.data.images, tried, info.encoder.dim, groups)
    if table.is_empty():
        return {"rows": {}, "sentences": answers}
    means = table.filter(augmentation=ALL)
    return {
        "maps": means["map"].unique(maintain_order=True).to_list(),
        "rows": means.with_columns(pl.col("metric").replace(TITLES)).rows_by_key("metric", named=True),
        "recall": recall_rows(table.filter(pl.col("augmentation") != ALL, metric=RECALL), page.reader.family_of),
        "by": "family, mean over levels" if page.reader.families else "augmentation",
        "sentences": answers,
        "groups": info.groups,
        "images": images_tried(page.reader),
        "of": page.data.images,
    }


def recall_rows(recall: pl.DataFrame, family_of: dict[str, str]) -> Json:
    families = pl.col("augmentation").replace(family_of)
    means = recall.group_by(families, "map", maintain_order=True).agg(
        pl.col("gallery").first(), pl.col("before", "after").mean(), ci_low=None
    )
    return means.rows_by_key("augmentation", named=True)


TERMS = {"whitening": "A linear map after which originals, or shifts, vary equally in every direction."}

CORRECTED = {"Which map is recommended": "Not corrected for the number of maps."}

PART = Part(section, answer=answer, terms=TERMS, corrected=CORRECTED)
