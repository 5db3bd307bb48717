"""Example images of an attack with their differences, to show how little was changed."""

from collections.abc import Sequence

import numpy as np

from embedshift.arrays import Pixels
from embedshift.augmentations import ORIGINAL
from embedshift.config import Json
from embedshift.report.images import address, shrink, webp
from embedshift.store.reader import Reader
from embedshift.store.redraw import RedrawnImage, iter_redrawn

# How many images, variants of each, pixels of a side; and characters of all `data:` addresses together.
IMAGES, VARIANTS, SIDE, BYTES = 2, 3, 224, 400_000
# The factor by which differences are enlarged, around mid grey.
TIMES = 16


def difference(picture: Pixels, original: Pixels) -> Pixels:
    """Returns the change, multiplied by 16, around mid grey."""
    return np.asarray(np.clip(128 + TIMES * (picture.astype(np.int64) - original), 0, 255), np.uint8)


def pictures(reader: Reader, variants: Sequence[str]) -> list[Json]:
    """Returns rows of example images."""
    rows, size = list[Json](), 0
    shown = variants[:VARIANTS]
    if not shown or not reader.shows_images:
        return rows
    ids = reader.sample_ids(IMAGES)
    for image_id, image in iter_redrawn(reader, ids, dict.fromkeys(ids, shown)):
        if isinstance(image, str):
            continue
        name, places = reader.naming.image(image_id), list[Json]()
        for title, picture in _titled(image, shown):
            found = address(webp(shrink(picture, SIDE), 60), "image/webp")
            size += len(found)
            if size > BYTES:
                break
            places.append({"title": title, "address": found, "alt": f"{title}: {name}"})
        rows.append({"image_id": name, "places": places})
    return rows


def _titled(image: RedrawnImage, variants: Sequence[str]) -> list[tuple[str, Pixels]]:
    """Returns the original, and each variant with its difference."""
    original = image.views[ORIGINAL]
    found = [(ORIGINAL, original)]
    for name in variants:
        if name in image.views:
            found.append((name, image.views[name]))
            found.append((f"{name}: difference × {TIMES}", difference(image.views[name], original)))
    return found
