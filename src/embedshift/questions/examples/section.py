"""The report's gallery: for each augmentation the images that moved most, typically and least."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from embedshift.config import Json
from embedshift.questions.examples.gallery import KINDS, Card, Gallery, build_gallery
from embedshift.registry import METRICS
from embedshift.report.numbers import fixed, metric_decimals, shorten, with_interval
from embedshift.report.section import Answer, PageInput, Part, Section
from embedshift.statistics.layout import blocks, layout
from embedshift.statistics.summary import COSINE, FAR
from embedshift.store.naming import ImageNaming

# The page has 4 MB: plotly takes 2, figures 0.8, the gallery the rest except for the text.
GALLERY_BYTES = 800_000
ROLES = {
    "original": "original",
    "view": "view",
    "original_attention": "attention, original",
    "view_attention": "attention, view",
}
# Images that are named.
NAMED = 3


def section(page: PageInput) -> Section:
    """Returns the section: the cards, augmentations from most to least changed."""
    order = page.data.by_rank()[::-1]
    gallery = build_gallery(page.reader, order, budget=GALLERY_BYTES)
    cards: dict[tuple[str, str], list[Card]] = {}
    for card in gallery.cards:
        cards.setdefault((card.augmentation, card.kind), []).append(card)
    content = {
        "order": order,
        "colours": page.data.colours,
        "kinds": KINDS,
        "cards": {key: [_card(card, gallery, page.reader.naming) for card in of] for key, of in cards.items()},
        "gallery": gallery,
        "shown": len({card.image_id for card in gallery.cards}),
        "first_missing": _first(gallery.missing, page.reader.naming),
        "first_unread": _first(gallery.unread, page.reader.naming),
        "pictures": page.reader.pictures,
        "has_attention": any(role.endswith("_attention") for card in gallery.cards for role in card.pictures),
        "has_vectors": page.info.has_vectors,
    }
    return Section("gallery", "Gallery", content, gallery.pictures)


def _card(card: Card, gallery: Gallery, naming: ImageNaming) -> Json:
    name = naming.image(card.image_id)
    panels = [
        {
            "title": title,
            "photo": card.pictures[role.removesuffix("_attention")],
            "heat": card.pictures[role] if role.endswith("_attention") else None,
            "alt": f"{title}: {name}" + (f" under {card.augmentation}" if role.startswith("view") else ""),
        }
        for role, title in ROLES.items()
        if role in card.pictures and role.removesuffix("_attention") in card.pictures
    ]
    metrics = [
        (METRICS[name].label, fixed(value, metric_decimals(name, value))) for name, value in card.metrics.items()
    ]
    why = gallery.missing.get(card.image_id) or gallery.unread.get((card.image_id, card.augmentation), "")
    reason = shorten(naming.text(why, card.image_id))
    return {"image_id": name, "places": panels, "metrics": metrics, "reason": reason}


def _first(missing: Mapping[Any, str], naming: ImageNaming) -> list[tuple[str, str, str]]:
    """Returns the first image that could not be read again, the name of its variant, and why; none if there is none."""
    keys = [(key, "", why) if isinstance(key, str) else (*key, why) for key, why in [*missing.items()][:1]]
    return [(naming.image(image), name, shorten(naming.text(why, image))) for image, name, why in keys]


def answer(page: PageInput) -> Answer:
    table = furthest(page.data.rows, page.data.summary, page.data.by_shift())
    return Answer("Which images have the largest shift?", largest_of(table, page.reader.naming))


def largest_of(table: pl.DataFrame, naming: ImageNaming) -> Json:
    far = table.filter(pl.col("far") > 0).sort("far", descending=True, maintain_order=True)
    names = table["augmentation", "image_id", "relative_shift"].head(NAMED).rows()
    largest = [(name, naming.image(image), with_interval(shift, None, None)[0]) for name, image, shift in names]
    return {"far": far.to_dicts(), "largest": largest}


def furthest(rows: pl.LazyFrame, summary: pl.DataFrame, order: Sequence[str]) -> pl.DataFrame:
    baselines = summary.filter((pl.col("metric") == COSINE) & pl.col("relative_shift").is_not_null())["baseline"]
    far_counts, image_counts = (dict.fromkeys(order if len(baselines) else (), 0) for _ in range(2))
    furthest_image: dict[str, tuple[float, str]] = {}
    row_layout = layout(rows)
    size = len(row_layout.views)
    for block in blocks(rows.select("image_id", COSINE), size) if far_counts and row_layout.images else ():
        ids = block["image_id"].gather_every(size)
        for name in order:
            sums, counts = row_layout.per_image(block, name, [COSINE])
            with np.errstate(invalid="ignore", divide="ignore"):
                relative_shifts = (1.0 - sums[:, 0] / counts[:, 0]) / (1.0 - baselines[0])
            far_counts[name] += int((relative_shifts > FAR).sum())
            image_counts[name] += int(np.isfinite(relative_shifts).sum())
            if np.isfinite(relative_shifts).any():
                largest = float(np.nanmax(relative_shifts))
                tied = ids.filter(pl.Series(relative_shifts == largest)).min()
                # Of equal relative shifts the first name, whatever the order of the images.
                candidate = (-largest, str(tied))
                furthest_image[name] = min(furthest_image.get(name, candidate), candidate)
    furthest_rows = [
        (name, image_counts[name], far_counts[name], furthest_image[name][1], -furthest_image[name][0])
        for name in order
        if name in furthest_image
    ]
    schema = {"augmentation": pl.String, **dict.fromkeys(("images", "far"), pl.Int64), "image_id": pl.String}
    schema |= {"relative_shift": pl.Float64}
    return pl.DataFrame(furthest_rows, schema=schema, orient="row")


PART = Part(section, answer=answer)
