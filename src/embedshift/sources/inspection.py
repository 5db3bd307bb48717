"""Inspects all variants before a study begins: hashes their bytes and compares their shapes with the images."""

import hashlib
import itertools
import logging
import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from embedshift.sources.base import ImageRef, stem
from embedshift.sources.images import upright_size
from embedshift.sources.pairs import PairedSource

log = logging.getLogger(__name__)

# A larger difference in aspect ratio is no rounding of pixels: resized to a square, the content is stretched.
STRETCHED = 1.02
# Images that are waited for at once, and threads, most of whose time is spent in reading.
_AT_ONCE, _THREADS = 1024, 4


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """The variants of one name."""

    bytes_hash: str
    count: int
    missing: int
    stretched: int
    first: str | None


# Of one variant: the hash of its bytes, "" where they cannot be read; and whether it is stretched.
_Look = tuple[str, bool]


def inspect(source: PairedSource) -> dict[str, Inspection]:
    """Returns name → inspection of the variants of all images; reads every image and every variant once."""
    count = sum(source.variant(name, sample) is not None for name in source.variants for sample in source.samples)
    log.info("hashing the bytes of %d variants", count)
    looks: dict[str, dict[str, _Look]] = {name: {} for name in source.variants}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large images, which decoding will refuse
        for sample, found in _all(source):
            for name, look in found.items():
                looks[name][sample.image_id] = look
    inspected = {name: _inspection(source, name, found) for name, found in looks.items()}
    for name, each in inspected.items():
        if each.stretched:
            log.warning(
                "%s: %d of %d variants have an aspect ratio more than 2 %% off that of their original (first: %s)",
                name, each.stretched, each.count, each.first,
            )  # fmt: skip
    return inspected


def _all(source: PairedSource) -> Iterator[tuple[ImageRef, dict[str, _Look]]]:
    """Yields every image with an inspection of its variants."""
    samples = sorted(source.samples, key=lambda sample: (source.block(sample) or ("", 0), sample.image_id))
    # A source that reads blocks keeps the last of them, and threads cannot fraction it.
    alone = all(source.block(sample) is None for sample in samples)
    with ThreadPoolExecutor(_THREADS * (os.cpu_count() or 1) if alone else 1) as threads:
        for start in range(0, len(samples), _AT_ONCE):
            part = samples[start : start + _AT_ONCE]
            yield from zip(part, threads.map(_look, itertools.repeat(source), part), strict=True)


def _look(source: PairedSource, sample: ImageRef) -> dict[str, _Look]:
    """Returns name → inspection of the variants of one image."""
    found: dict[str, _Look] = {}
    size = _size(source, sample)
    for name in source.variants:
        variant = source.variant(name, sample)
        if variant is None:
            continue
        try:
            data = source.read_variant(name, variant)
        except Exception:
            found[name] = "", False
            continue
        own = upright_size(data)
        found[name] = hashlib.blake2b(data, digest_size=16).hexdigest(), bool(size and own and _stretched(size, own))
    return found


def _size(source: PairedSource, sample: ImageRef) -> tuple[int, int] | None:
    try:
        return upright_size(source.read(sample))
    except Exception:  # it will be a failure
        return None


def _stretched(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Returns whether two sizes have aspect ratios that differ by more than 2 %."""
    ratio = one[0] * other[1] / (one[1] * other[0])
    return max(ratio, 1 / ratio) > STRETCHED


def _inspection(source: PairedSource, name: str, looks: dict[str, _Look]) -> Inspection:
    lines = sorted(f"{stem(image_id)}\n{digest or 'unreadable'}\n" for image_id, (digest, _) in looks.items())
    stretched = sorted(image_id for image_id, (_, apart) in looks.items() if apart)
    measured = [sample for sample in source.samples if sample.problem is None]
    return Inspection(
        bytes_hash=hashlib.blake2b("".join(lines).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest(),
        count=len(looks),
        missing=sum(source.variant(name, sample) is None for sample in measured),
        stretched=len(stretched),
        first=stretched[0] if stretched else None,
    )
