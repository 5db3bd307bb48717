"""The report's section on images at risk: those that a search misses under most changes, with their pictures."""

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from embedshift.augmentations import ORIGINAL
from embedshift.config import Json
from embedshift.report.numbers import fixed, listed
from embedshift.report.section import PageInput, Part, Section, panel
from embedshift.store.reader import Reader
from embedshift.store.redraw import iter_redrawn
from embedshift.store.table import Row

# Rows of the table; of these images with pictures, and the pixels of a side.
LISTED, SHOWN, SIDE = 10, 3, 144
# Correlations that are listed for a property.
MOST = 4
HEADINGS = ("image", "changes that miss it", "worst change", "rank", "margin", "nearest other image")


def section(page: PageInput) -> Section | None:
    risk, content = page.reader.table("at_risk"), page.reader.table("content")
    if risk is None or risk.is_empty():
        return None
    first, naming = risk.head(LISTED), page.reader.naming
    rows = [
        [naming.image(row["image_id"]), str(row["missed"]), row["worst"], str(row["rank"]), fixed(row["margin"], 3),
         naming.image(row["nearest"] or "")]
        for row in first.iter_rows(named=True)
    ]  # fmt: skip
    missed = int((risk["missed"] > 0).sum())
    more = {"headings": HEADINGS, "rows": rows, "missed": missed, "images": len(risk)}
    shown = [*_pictures(page.reader, first.head(SHOWN).to_dicts())]
    kept = content if content is not None else pl.DataFrame()
    return Section("at-risk", "Images at risk", {"risk": more | {"pictures": shown, "moved": [*_moved(kept)]}})


def _pictures(reader: Reader, rows: Sequence[Row]) -> Iterator[Json]:
    """Yields each image with its view under the worst change, and the nearest other image."""
    if not reader.shows_images:
        return
    views: dict[str, list[str]] = {}
    for row in rows:
        views.setdefault(row["image_id"], []).append(row["worst"])
        views.setdefault(row["nearest"] or row["image_id"], [])
    known = {*reader.image_ids()}
    wanted = [image_id for image_id in views if image_id in known]
    drawn = {image_id: image for image_id, image in iter_redrawn(reader, wanted, views) if not isinstance(image, str)}
    for row in rows:
        image, nearest = drawn.get(row["image_id"]), drawn.get(row["nearest"])
        if image is None or row["worst"] not in image.views:
            continue
        panels = {ORIGINAL: image.views[ORIGINAL], row["worst"]: image.views[row["worst"]]}
        if nearest is not None:
            panels["nearest other image"] = nearest.views[ORIGINAL]
        name = reader.naming.image(row["image_id"])
        yield {"image_id": name, "places": [panel(title, name, view, SIDE, 55) for title, view in panels.items()]}


def _moved(content: pl.DataFrame) -> Iterator[Mapping[str, str]]:
    """Yields for each property the changes that move images by it, the closest relations first."""
    if content.is_empty():
        return
    strong = content.filter("significant").sort(pl.col("correlation").abs(), descending=True)
    for (name,), rows in strong.group_by("property", maintain_order=True):
        words = [
            f"{row['augmentation']} {fixed(row['correlation'], 2, signed=True)}" for row in rows.iter_rows(named=True)
        ]
        yield {"property": str(name).replace("_", " "), "changes": listed(words, MOST)}


TERMS = {
    "margin of an image": "Cosine of a view with its own original less that with the best other: below 0 = missed.",
    "joint limit": "The size that the largest of all rank correlations reaches by chance in 5 % of studies.",
}
CORRECTED = {
    "Which images move": "Over all changes and properties at once: one is listed in 5 % of studies without any."
}
PART = Part(section, terms=TERMS, corrected=CORRECTED)
