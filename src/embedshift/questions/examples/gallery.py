"""The gallery: for each augmentation the images that moved most, typically and least, as small images."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from embedshift.arrays import Pixels
from embedshift.augmentations import ORIGINAL
from embedshift.report.section import address, heat, shrink, webp
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
class Gallery:
    """All cards, each image once, and what could not be shown."""

    cards: list[Card]
    pictures: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    unread: dict[tuple[str, str], str] = field(default_factory=dict)
    undrawable: list[str] = field(default_factory=list)
    left_out: int = 0


# "photo" or "heat", image id, view.
Key = tuple[str, str, str]


def build_gallery(reader: Reader, order: Sequence[str], *, budget: int) -> Gallery:
    images_by_kind = {name: extremes(reader.rows(), name, count=STEPS[0][0]) for name in order}
    keys = [(name, kind, image) for name in order for kind in KINDS for image in images_by_kind[name][kind]]
    values = _metrics(reader, [image for _, _, image in keys])
    if not reader.shows_images:
        return Gallery([Card(name, kind, image, values[image, name]) for name, kind, image in keys])
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
    return Gallery(cards, pictures, missing, unread, undrawable, len(encoded) - len(fitting))


def _metrics(reader: Reader, image_ids: Sequence[str]) -> dict[tuple[str, str], dict[str, float | None]]:
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
