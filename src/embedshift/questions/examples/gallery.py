"""The gallery: for each augmentation the images that moved most, typically and least, as small images."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from embedshift.arrays import Pixels
from embedshift.augmentations import ORIGINAL
from embedshift.report.images import address, heat, shrink, webp
from embedshift.store.reader import Reader
from embedshift.store.redraw import RedrawnImage, iter_redrawn

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
class Gallery:
    """All cards, each image once, and what could not be shown."""

    cards: list[Card]
    pictures: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    unread: dict[tuple[str, str], str] = field(default_factory=dict)
    undrawable: list[str] = field(default_factory=list)
    left_out: int = 0


Thumbnails = dict[tuple[str, str], Pixels]


def build_gallery(reader: Reader, order: Sequence[str], *, budget: int) -> Gallery:
    images_by_kind = {name: extremes(reader.rows(), name, count=STEPS[0][0]) for name in order}
    keys = [(name, kind, image) for name in order for kind in KINDS for image in images_by_kind[name][kind]]
    values = _metrics(reader, [image for _, _, image in keys])
    if not reader.shows_images:
        return Gallery([Card(name, kind, image, values[image, name]) for name, kind, image in keys])
    photos, heats, missing, unread = _load_thumbnails(reader, keys)
    for count, side, quality in STEPS:
        kept = [(name, kind, image) for name, kind, image in keys if image in images_by_kind[name][kind][:count]]
        cards = [
            Card(name, kind, image, values[image, name], _pictures(name, image, photos, heats))
            for name, kind, image in kept
        ]
        used = {key for card in cards for key in card.pictures.values()}
        encoded = dict(_encode(photos, heats, used, side, quality))
        if sum(map(len, encoded.values())) <= budget:
            break
    undrawable = [name for name in order if "callable" in reader.info.identity["augmentations"][name]]
    fitting = list(_fitting_keys(encoded, budget))
    short_keys = {key: f"p{number}" for number, key in enumerate(fitting)}
    for index, card in enumerate(cards):
        shown = {role: short_keys[key] for role, key in card.pictures.items() if key in short_keys}
        cards[index] = replace(card, pictures=shown)
    pictures = {short_keys[key]: encoded[key] for key in fitting}
    return Gallery(cards, pictures, missing, unread, undrawable, len(encoded) - len(fitting))


def _metrics(reader: Reader, image_ids: Sequence[str]) -> dict[tuple[str, str], dict[str, float | None]]:
    """Returns image and augmentation → metric → value, of draw 0."""
    metrics = reader.metrics
    rows = (
        reader.rows()
        .filter((pl.col("draw") == 0) & (pl.col("view") != ORIGINAL) & pl.col("image_id").is_in(sorted(set(image_ids))))
        .select("image_id", "view", *metrics)
        .collect()
    )
    return {(row.pop("image_id"), row.pop("view")): row for row in rows.iter_rows(named=True)}


def _load_thumbnails(
    reader: Reader, keys: Sequence[tuple[str, str, str]]
) -> tuple[Thumbnails, Thumbnails, dict[str, str], dict[tuple[str, str], str]]:
    """Returns images and attention maps at thumbnail size, and why images and variants are missing."""
    wanted: dict[str, list[str]] = {}
    for name, _, image_id in keys:
        wanted.setdefault(image_id, []).append(name)
    photos: Thumbnails = {}
    heats: Thumbnails = {}
    missing: dict[str, str] = {}
    unread: dict[tuple[str, str], str] = {}
    for image_id, image in iter_redrawn(reader, list(wanted), wanted):
        if isinstance(image, str):
            missing[image_id] = image
            continue
        unread |= {(image_id, name): reason for name, reason in image.missing.items()}
        for view in (ORIGINAL, *wanted[image_id]):
            _add_thumbnails(image, view, photos, heats)
    return photos, heats, missing, unread


def _add_thumbnails(image: RedrawnImage, view: str, photos: Thumbnails, heats: Thumbnails) -> None:
    if view in image.views:
        photos[image.image_id, view] = shrink(image.views[view], STEPS[0][1])
        if view in image.attention:
            heats[image.image_id, view] = heat(image.attention[view])


def _pictures(name: str, image_id: str, photos: Thumbnails, heats: Thumbnails) -> dict[str, str]:
    views_by_role = {"original": ORIGINAL, "view": name}
    photo_keys = {
        role: _key("photo", image_id, view) for role, view in views_by_role.items() if (image_id, view) in photos
    }
    return photo_keys | {
        f"{role}_attention": _key("heat", image_id, view)
        for role, view in views_by_role.items()
        if (image_id, view) in heats
    }


def _key(kind: str, image_id: str, view: str) -> str:
    return f"{kind}|{view}|{image_id}"


def _encode(
    photos: Thumbnails, heats: Thumbnails, used: set[str], side: int, quality: int
) -> Iterator[tuple[str, str]]:
    for kind, pictures in (("photo", photos), ("heat", heats)):
        for (image_id, view), picture in pictures.items():
            key = _key(kind, image_id, view)
            if key in used:
                data = webp(shrink(picture, side), quality) if kind == "photo" else webp(picture, 100)
                yield key, address(data, "image/webp")


def _fitting_keys(encoded: Mapping[str, str], budget: int) -> Iterator[str]:
    """Yields the keys of as many images as fit."""
    total = 0
    for key, picture in encoded.items():
        total += len(picture)
        if total <= budget:
            yield key


def extremes(rows: pl.LazyFrame, augmentation: str, *, count: int = 3) -> dict[str, list[str]]:
    """Returns the images that one augmentation moved most, typically and least, by cosine similarity of draw 0."""
    part = (
        rows.filter((pl.col("view") == augmentation) & (pl.col("draw") == 0))
        .select("image_id", pl.col("cosine_similarity").fill_nan(None))
        .drop_nulls()
        .collect()
        .sort("cosine_similarity", "image_id")
    )
    ids = part["image_id"].to_list()
    size = max(1, min(count, len(ids) // 3)) if ids else 0
    most, least = ids[:size], ids[max(size, len(ids) - size) :][::-1]
    middle = ids[size : len(ids) - len(least)]
    start = max(0, (len(middle) - size) // 2)
    return {"most": most, "typical": middle[start : start + size], "least": least}
