"""Small images for the page: views, their originals, and the images found instead."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from embedshift.arrays import Pixels
from embedshift.augmentations import ORIGINAL
from embedshift.report.images import address, shrink, webp
from embedshift.store.naming import GALLERY
from embedshift.store.reader import Reader
from embedshift.store.redraw import RedrawnImage, iter_redrawn

# Longest side in pixels and WebP quality, tried in this order until all fit: at the last one 42 images of noise do.
STEPS = ((144, 65), (112, 60), (80, 50), (64, 40))
# Of the page's 4 MB.
BUDGET = 150_000

# Image id, and the name of its view or "original".
Key = tuple[str, str]


@dataclass(frozen=True)
class Thumbnails:
    """Images as `data:` addresses, and why some are missing."""

    addresses: Mapping[Key, str] = field(default_factory=dict)
    missing: Mapping[Key, str] = field(default_factory=dict)


def thumbnails(reader: Reader, keys: Sequence[Key], budget: int = BUDGET) -> Thumbnails:
    """Draws the images of some keys again; none if the reader may not show images."""
    if not reader.shows_images:
        return Thumbnails()
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
    for side, quality in STEPS:
        addresses = {key: address(webp(shrink(image, side), quality), "image/webp") for key, image in drawn.items()}
        if sum(len(addresses[key]) for key in keys if key in addresses) <= budget:
            break
    return Thumbnails(addresses, missing)


def _reason(image: RedrawnImage, view: str) -> str:
    user_function = "a user function, which a report cannot call again"
    return image.missing.get(view, user_function if view != ORIGINAL else "its file cannot be read")
