"""Small images of a study on its page: originals and views, drawn again, or why one cannot be shown."""

from collections.abc import Sequence

from embedshift.arrays import Pixels
from embedshift.augmentations import ORIGINAL
from embedshift.config import Json
from embedshift.report.numbers import shorten
from embedshift.report.section import address, shrink, webp
from embedshift.store.naming import GALLERY
from embedshift.store.reader import Reader
from embedshift.store.redraw import RedrawnImage, iter_redrawn

# Longest side in pixels and WebP quality, tried in this order until all fit: at the last one 42 images of noise do.
STEPS = ((144, 65), (112, 60), (80, 50), (64, 40))
# Of the page's 4 MB.
BUDGET = 150_000

# Image id, and the name of its view or "original".
Key = tuple[str, str]


def thumbnails(reader: Reader, keys: Sequence[Key], budget: int = BUDGET) -> dict[Key, Json]:
    drawn, missing = _drawn(reader, keys) if reader.shows_images else ({}, {})
    for side, quality in STEPS:
        addresses = {key: address(webp(shrink(image, side), quality), "image/webp") for key, image in drawn.items()}
        if sum(len(addresses[key]) for key in keys if key in addresses) <= budget:
            break
    name, text = reader.naming.image, reader.naming.text
    reasons = {key: shorten(text(missing.get(key, ""), key[0])) for key in keys}
    return {key: {"name": name(key[0]), "address": addresses.get(key, ""), "reason": reasons[key]} for key in keys}


def _drawn(reader: Reader, keys: Sequence[Key]) -> tuple[dict[Key, Pixels], dict[Key, str]]:
    missing = {key: "the gallery contains embeddings only" for key in keys if key[0].startswith(GALLERY)}
    wanted: dict[str, set[str]] = {}
    for image_id, view in keys:
        if (image_id, view) not in missing:
            wanted.setdefault(image_id, set()).add(view)
    drawn: dict[Key, Pixels] = {}
    for image_id, image in iter_redrawn(reader, list(wanted), wanted) if wanted else ():
        for view in sorted(wanted[image_id]):
            if not isinstance(image, str) and view in image.views:
                drawn[image_id, view] = shrink(image.views[view], STEPS[0][0])
            else:
                missing[image_id, view] = image if isinstance(image, str) else _reason(image, view)
    return drawn, missing


def _reason(image: RedrawnImage, view: str) -> str:
    of_others = "made by a function or program of your own, which a report cannot run"
    return image.missing.get(view, of_others if view != ORIGINAL else "its file cannot be read")
