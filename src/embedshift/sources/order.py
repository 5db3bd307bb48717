"""Selects the images of a study and their order, drawn by its seed, so that each shard is a fair sample.

If folders are classes, sorted names would give shards of one class, and the sums of shards (CKA) would depend on the
names of files.
"""

import hashlib
import operator
import random
from collections.abc import Sequence

from embedshift.errors import UsageError
from embedshift.sources.base import Block, ImageRef, Shard, Source, storable

# Number of blocks whose images are mixed, all of which are in a loader's memory.
WINDOW = 8
SHUFFLED, BLOCKS = "shuffled", f"blocks in drawn order, shuffled in windows of {WINDOW}"


def select(samples: Sequence[ImageRef], *, limit: int | None, sample: int | None, seed: int) -> list[ImageRef]:
    """Returns the images of a study: the first `limit` by sorted id, and of these `sample` drawn by the seed."""
    ordered = sorted(samples, key=operator.attrgetter("image_id", "location", "position"))
    first: dict[str, ImageRef] = {}
    for image in ordered:
        # By the names under which they are stored: two names that differ may be stored as one.
        namesake = first.setdefault(storable(image.image_id), image)
        if namesake is not image:
            name = storable(namesake.image_id)
            raise UsageError(f"two images have the id {name!r}: {namesake.location} and {image.location}; rename one")
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
    return sorted(samples, key=lambda sample: (_sort_key(seed, sample.image_id), sample.image_id))


def _sort_key(seed: int, name: str) -> bytes:
    text = f"{seed}|order|{name}".encode("utf-8", "surrogateescape")
    return hashlib.blake2b(text, digest_size=8).digest()
