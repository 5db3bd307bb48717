"""The contract of a source, functions that all sources share, and the order of a study's images, drawn by its seed."""

import hashlib
import json
import logging
import operator
import os
import random
import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from embedshift.errors import EmbedshiftError, UsageError, cause

log = logging.getLogger(__name__)

CAPTION_ENDINGS = (".json", ".txt")
# Endings that an id may have, as in a column of ids, although folders are not searched for them.
OTHER_ENDINGS = frozenset({".gif", ".jpe", ".jfif", ".avif", ".heic", ".jxl", ".jp2"})
ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
# Bytes of the largest file of an image, of a text beside one, and of a list.
IMAGE_BYTES, TEXT_BYTES, LIST_BYTES = 2**30, 2**20, 2**28
# Bytes of vectors in float32 that are in memory at once.
AT_ONCE = 2**23
# What `columns` may name, and the column's name where it does not.
COLUMNS = {"id": "image_id", "view": "view", "vector": "vector", "group": "group", "draw": "draw", "tile": "tile"}


@dataclass(frozen=True, order=True, slots=True)  # millions are in memory
class ImageRef:
    image_id: str
    location: str
    caption: str | None = None
    problem: str | None = None
    archive: str = ""
    position: int = 0
    length: int = 0
    # Names of ready-made variants, and their places.
    variants: tuple[tuple[str, "ImageRef"], ...] = ()


def rows_at_once(dim: int) -> int:
    return max(1, AT_ONCE // (4 * max(1, dim)))


# An archive, and the number of a block in it.
Block = tuple[str, int]


@dataclass(frozen=True)
class Shard:
    """A fixed slice of a study's samples: the unit of work, of resume, and of a cluster's tasks."""

    index: int
    samples: tuple[ImageRef, ...]


@dataclass(frozen=True)
class Failure:
    image_id: str
    stage: str
    reason: str
    transient: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", storable(self.reason))  # it may name a file


class Source:
    samples: Sequence[ImageRef]
    skipped: Mapping[str, int]
    description: Mapping[str, Any]

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out the list of images for other processes, which get those that they read."""
        return self.__dict__ | {"samples": ()}

    def read(self, sample: ImageRef) -> bytes:
        """Reads the bytes of one image; raises OSError or EmbedshiftError with the reason."""
        raise NotImplementedError

    def block(self, sample: ImageRef) -> Block | None:
        """Returns the images that are read together with an image; None if each can be read by itself."""
        return None


def stem(image_id: str) -> str:
    """Returns an id without its ending; a text after a dot that is no image ending belongs to the name."""
    name, ending = os.path.splitext(image_id)
    return name if ending.lower() in ENDINGS | OTHER_ENDINGS else image_id


def hash_of(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def storable(text: str) -> str:
    r"""Returns a name that Parquet can hold: bytes of a file name that are not UTF-8 become `\xNN`."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def text_or_none(value: object) -> str | None:
    """Returns a value as text; None for a missing one: None, and NaN, NaT and NA, none of which equals itself."""
    is_itself: Any = value == value
    return str(value) if value is not None and isinstance(is_itself, bool | np.bool_) and is_itself else None


def read_caption(name: str, content: bytes) -> str | None:
    """Returns the caption in a text beside an image: a `.txt`, or img2dataset's `.json` with a `caption`."""
    text = content.decode("utf-8", "replace")
    if not name.lower().endswith(".json"):
        return text.strip()
    try:
        caption = json.loads(text).get("caption")
    except (ValueError, AttributeError, RecursionError):
        return None
    # JSON may hold halves of a character, which are no text to Parquet.
    return caption.encode("utf-8", "replace").decode().strip() if isinstance(caption, str) else None


def read_captions(
    texts: Iterable[str], stems: Container[str], skipped: Counter[str], read: Callable[[str], bytes]
) -> dict[str, str]:
    """Returns stem → caption of the texts that are beside an image; others count as skipped files."""
    captions: dict[str, str] = {}
    for name in sorted({*texts}):  # a .txt comes after the .json, and wins
        if (beside := os.path.splitext(name)[0]) not in stems:
            count_ending(skipped, name)
            continue
        try:
            if (caption := read_caption(name, read(name))) is not None:
                captions[beside] = caption
        except (OSError, EmbedshiftError) as error:
            log.warning("%s: no caption could be read (%s)", name, cause(error))
    return captions


def without_folders(text: str, description: Mapping[str, Any]) -> str:
    """Removes the folders of images from a text, because they mean nothing on another machine."""
    described = [description, *description.get("variants", {}).values()]
    folders = {folder.removeprefix("file://") for source in described for folder in _folders(source)}
    for folder in sorted(folders, key=len, reverse=True):
        if folder.startswith("/") and folder != "/":
            text = re.sub(rf"(?:file://|(?<![\w./-])){re.escape(folder)}/", "", text)
    return text


def _folders(description: Mapping[str, Any]) -> list[str]:
    root = description.get("root")
    return [root, os.path.dirname(root)] if root else [os.path.dirname(path) for path in description.get("paths", ())]


def count_ending(skipped: Counter[str], name: str) -> None:
    skipped[os.path.splitext(name)[1].lower() or "no ending"] += 1


def describe_skipped(skipped: Mapping[str, int]) -> str:
    counted = ", ".join(f"{count} {ending}" for ending, count in sorted(skipped.items()))
    return f" (skipped:  {counted})" if counted else ""


# Images are in an order drawn by the seed, so that each shard is a fair sample. If folders are classes, sorted names
# would give shards of one class, and the sums of shards (CKA) would depend on the names of files.
# Number of blocks whose images are mixed, all of which are in a loader's memory.
WINDOW = 8
SHUFFLED, BLOCKS = "shuffled", f"blocks in drawn order, shuffled in windows of {WINDOW}"


def select(samples: Sequence[ImageRef], *, limit: int | None, sample: int | None, seed: int) -> list[ImageRef]:
    """Returns the images of a study: the first `limit` by sorted id, and of these `sample` drawn by the seed."""
    ordered = sorted(samples, key=operator.attrgetter("image_id", "location", "position"))
    # By the names under which they are stored: two names that differ may be stored as one.
    if len({storable(image.image_id) for image in ordered}) < len(ordered):
        first: dict[str, ImageRef] = {}
        for image in ordered:
            if (namesake := first.setdefault(storable(image.image_id), image)) is not image:
                name, places = storable(image.image_id), f"{namesake.location} and {image.location}"
                raise UsageError(f"two images have the id {name!r}: {places}; rename one")
    chosen = ordered[:limit]
    if sample is not None and sample < len(chosen):
        drawn = random.Random(seed).sample(range(len(chosen)), sample)
        chosen = [chosen[index] for index in sorted(drawn)]
    return chosen


def shuffle(samples: Sequence[ImageRef], source: Source, *, seed: int) -> tuple[list[ImageRef], str]:
    blocks: dict[Block | None, list[ImageRef]] = {}
    for sample in samples:
        blocks.setdefault(source.block(sample), []).append(sample)
    if not any(blocks):
        return _shuffled(samples, seed), SHUFFLED
    # A block is known by an image in it and not by its archive's path, which may change.
    named = {min(sample.image_id for sample in block): block for block in blocks.values()}
    ordered = [named[name] for name in sorted(named, key=lambda name: _sort_key(seed, f"block|{name}"))]
    windows = (ordered[start : start + WINDOW] for start in range(0, len(ordered), WINDOW))
    return [sample for window in windows for sample in _shuffled([s for block in window for s in block], seed)], BLOCKS


def split(samples: Sequence[ImageRef], size: int) -> list[Shard]:
    starts = range(0, len(samples), size)
    return [Shard(index, tuple(samples[start : start + size])) for index, start in enumerate(starts)]


def _shuffled(samples: Sequence[ImageRef], seed: int) -> list[ImageRef]:
    ordered = sorted(samples, key=operator.attrgetter("image_id"))
    keys = np.frombuffer(b"".join(_sort_key(seed, sample.image_id) for sample in ordered), ">u8")
    return [ordered[place] for place in np.argsort(keys, kind="stable").tolist()]


def _sort_key(seed: int, name: str) -> bytes:
    text = f"{seed}|order|{name}".encode("utf-8", "surrogateescape")
    return hashlib.blake2b(text, digest_size=8).digest()
