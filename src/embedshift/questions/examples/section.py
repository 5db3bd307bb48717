"""The report's gallery: for each augmentation the images that moved most, typically and least, as small images."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from embedshift.arrays import Pixels
from embedshift.augmentations import ORIGINAL
from embedshift.config import Json
from embedshift.registry import METRICS
from embedshift.report.numbers import fixed, metric_decimals, shorten, with_interval
from embedshift.report.section import Answer, PageInput, Part, Section, address, heat, shrink, webp
from embedshift.statistics.layout import blocks, layout, sums_and_counts
from embedshift.statistics.summary import COSINE, FAR
from embedshift.store.naming import ImageNaming
from embedshift.store.reader import Reader
from embedshift.store.redraw import iter_redrawn

# Images of each kind, longest side in pixels, WebP quality: tried in this order until the gallery fits.
STEPS = ((3, 144, 60), (2, 144, 55), (2, 128, 50), (1, 128, 45), (1, 96, 35))
KINDS = {"most": "Largest shift", "typical": "Typical", "least": "Smallest shift"}


@dataclass(frozen=True)
class Card:
    augmentation: str
    kind: str
    image_id: str
    metrics: dict[str, float | None]
    pictures: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ExampleGallery:
    cards: list[Card]
    pictures: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    unread: dict[tuple[str, str], str] = field(default_factory=dict)
    undrawable: list[str] = field(default_factory=list)
    left_out: int = 0


# "photo" or "heat", image id, view.
Key = tuple[str, str, str]


def build_gallery(reader: Reader, order: Sequence[str], *, budget: int) -> ExampleGallery:
    images_by_kind = {name: extremes(reader.rows(), name, count=STEPS[0][0]) for name in order}
    keys = [(name, kind, image) for name in order for kind in KINDS for image in images_by_kind[name][kind]]
    values = _metrics(reader, [image for _, _, image in keys])
    if not reader.shows_images:
        return ExampleGallery([Card(name, kind, image, values[image, name]) for name, kind, image in keys])
    thumbnails, missing, unread = _load_thumbnails(reader, keys)
    for count, side, quality in STEPS:
        kept = [(name, kind, image) for name, kind, image in keys if image in images_by_kind[name][kind][:count]]
        roles = [_keys_by_role(image, name, thumbnails) for name, _, image in kept]
        used = {key for of_card in roles for key in of_card.values()}
        encoded = {key: _encoded(key, thumbnails[key], side, quality) for key in thumbnails if key in used}
        if sum(map(len, encoded.values())) <= budget:
            break
    sizes = itertools.accumulate(map(len, encoded.values()))
    fitting = [key for key, size in zip(encoded, sizes, strict=True) if size <= budget]
    short_keys = {key: f"p{number}" for number, key in enumerate(fitting)}
    shown = [{role: short_keys[key] for role, key in of_card.items() if key in short_keys} for of_card in roles]
    cards = [Card(*key, values[key[2], key[0]], pictures) for key, pictures in zip(kept, shown, strict=True)]
    undrawable = [name for name in order if "callable" in reader.info.identity["augmentations"][name]]
    pictures = {short_keys[key]: encoded[key] for key in fitting}
    return ExampleGallery(cards, pictures, missing, unread, undrawable, len(encoded) - len(fitting))


def _metrics(reader: Reader, image_ids: Sequence[str]) -> dict[tuple[str, str], dict[str, float | None]]:
    is_shown = (pl.col("draw") == 0) & (pl.col("view") != ORIGINAL) & pl.col("image_id").is_in(sorted(set(image_ids)))
    rows = reader.rows().filter(is_shown).select("image_id", "view", *reader.metrics).collect()
    return {(row.pop("image_id"), row.pop("view")): row for row in rows.iter_rows(named=True)}


def _load_thumbnails(
    reader: Reader, keys: Sequence[tuple[str, str, str]]
) -> tuple[dict[Key, Pixels], dict[str, str], dict[tuple[str, str], str]]:
    wanted: dict[str, list[str]] = {}
    for name, _, image_id in keys:
        wanted.setdefault(image_id, []).append(name)
    photos, heats = dict[Key, Pixels](), dict[Key, Pixels]()
    missing, unread = dict[str, str](), dict[tuple[str, str], str]()
    for image_id, image in iter_redrawn(reader, list(wanted), wanted):
        if isinstance(image, str):
            missing[image_id] = image
            continue
        unread |= {(image_id, name): reason for name, reason in image.missing.items()}
        for view in (ORIGINAL, *wanted[image_id]):
            if view in image.views:
                photos["photo", image_id, view] = shrink(image.views[view], STEPS[0][1])
                if view in image.attention:
                    heats["heat", image_id, view] = heat(image.attention[view])
    return photos | heats, missing, unread


def _keys_by_role(image_id: str, name: str, thumbnails: Mapping[Key, Pixels]) -> dict[str, Key]:
    roles: dict[str, Key] = {
        "original": ("photo", image_id, ORIGINAL),
        "view": ("photo", image_id, name),
        "original_attention": ("heat", image_id, ORIGINAL),
        "view_attention": ("heat", image_id, name),
    }
    return {role: key for role, key in roles.items() if key in thumbnails}


def _encoded(key: Key, picture: Pixels, side: int, quality: int) -> str:
    data = webp(shrink(picture, side), quality) if key[0] == "photo" else webp(picture, 100)
    return address(data, "image/webp")


def extremes(rows: pl.LazyFrame, augmentation: str, *, count: int = 3) -> dict[str, list[str]]:
    """Returns the images that one augmentation moved most, typically and least, by cosine similarity of draw 0."""
    cosines = rows.filter(view=augmentation, draw=0).select("image_id", pl.col(COSINE).fill_nan(None)).drop_nulls()
    ids = cosines.collect().sort(COSINE, "image_id")["image_id"].to_list()
    size = max(1, min(count, len(ids) // 3)) if ids else 0
    most, least = ids[:size], ids[max(size, len(ids) - size) :][::-1]
    middle = ids[size : len(ids) - len(least)]
    start = max(0, (len(middle) - size) // 2)
    return {"most": most, "typical": middle[start : start + size], "least": least}


# The page has 4 MB: plotly takes 2, figures and the gallery 0.7 each, the first screen 0.2, and text the rest.
GALLERY_BYTES = 700_000
ROLES = {
    "original": "original",
    "view": "view",
    "original_attention": "attention, original",
    "view_attention": "attention, view",
}
# Images that are named.
NAMED = 3


def section(page: PageInput) -> Section:
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


def _card(card: Card, gallery: ExampleGallery, naming: ImageNaming) -> Json:
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
            sums, counts = sums_and_counts(row_layout.values(block, name, [COSINE]))
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
    schema = pl.Schema({"augmentation": str, "images": int, "far": int, "image_id": str, "relative_shift": float})
    return pl.DataFrame(furthest_rows, schema=schema, orient="row")


PART = Part(section, answer=answer)
