"""The report's section on what directions stand for: sentences, and images furthest along each."""

from collections.abc import Mapping

from embedshift.augmentations import ORIGINAL
from embedshift.config import Json
from embedshift.questions.meaning.directions import MOST_IMAGES
from embedshift.questions.meaning.explained import HEADINGS, STAR, DirectionFinding, cells, findings, why_nothing
from embedshift.report.numbers import count
from embedshift.report.section import Answer, PageInput, Part, Section
from embedshift.report.thumbnails import Key, thumbnails

# Directions whose images are shown, and images of a strip.
STRIPS, IMAGES = 6, 6


def section(page: PageInput) -> Section | None:
    table = page.reader.table("meaning")
    if table is None:
        return None
    found = findings(table)
    shown = found[:STRIPS]
    keys = [key for finding in shown for key in _keys(finding)]
    images = thumbnails(page.reader, [*dict.fromkeys(keys)])
    content: Json = {
        "why": "" if found else why_nothing(page.reader, page.reader.kept_settings("meaning").get("features", "")),
        "headings": HEADINGS,
        "rows": [(*cells(finding)[:-1], ", ".join(_names(finding, page))) for finding in found],
        "sentences": [finding.sentence for finding in found if finding.is_found],
        "strips": [(finding.direction, *_strips(finding, images)) for finding in shown],
        "figure": page.figures.get("meaning"),
        "images": count(min(MOST_IMAGES, page.data.images), "image", page.data.images),
        "left_out": len(found) - len(shown),
    }
    return Section("meaning", "Meaning", {"meaning": content})


def _keys(finding: DirectionFinding) -> list[Key]:
    rows = finding.images[:IMAGES]
    return [*((row["name"], ORIGINAL) for row in rows), *((row["counterfactual"], ORIGINAL) for row in rows)]


def _strips(finding: DirectionFinding, images: Mapping[Key, Json]) -> tuple[list[Json], list[Json]]:
    keys = _keys(finding)
    shown = [images[key] for key in keys]
    return shown[: len(keys) // 2], shown[len(keys) // 2 :]


def _names(finding: DirectionFinding, page: PageInput) -> list[str]:
    return [page.reader.naming.image(row["name"]) + STAR * row["significant"] for row in finding.images[:3]]


def answer(page: PageInput) -> Answer | None:
    table = page.reader.table("meaning")
    if table is None or table.is_empty():
        return None
    found = findings(table)
    clear = [finding.sentence for finding in found if finding.is_found]
    return Answer("What do directions stand for?", {"sentences": clear, "directions": len(found)})


TERMS = {
    "agreement of halves": "The correlation of images' places along a direction fitted to one half of the images and "
    "to the other.",
    "counterfactual": "The lowest along a direction of the images that are nearest in all other directions.",
}
CORRECTED = {
    "Properties, words and images of directions": "At 5 % over all directions and names of a table, by the largest "
    "that random directions reach."
}
PART = Part(section, answer=answer, terms=TERMS, corrected=CORRECTED)
