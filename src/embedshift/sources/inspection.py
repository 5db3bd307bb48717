"""Inspects all variants before a study begins: hashes their bytes and compares their shapes with the images."""

import itertools
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from embedshift.sources.base import ImageRef, hash_of, stem
from embedshift.sources.images import upright_size
from embedshift.sources.pairs import PairedSource

log = logging.getLogger(__name__)

# A larger difference in aspect ratio is no rounding of pixels: resized to a square, the content is stretched.
STRETCHED = 1.02
# Images that are waited for at once, and threads, most of whose time is spent in reading.
_AT_ONCE, _THREADS = 1024, 4


@dataclass(frozen=True, kw_only=True)
class Inspection:
    bytes_hash: str
    count: int
    missing: int
    stretched: int
    first: str | None


# The hash of a variant's bytes, "" if they cannot be read; and whether it is stretched.
_VariantCheck = tuple[str, bool]


def inspect(source: PairedSource) -> dict[str, Inspection]:
    """Returns name → inspection of the variants of all images; reads every image and every variant once."""
    count = sum(source.variant(name, sample) is not None for name in source.variants for sample in source.samples)
    log.info("hashing the bytes of %d variants", count)
    checks: dict[str, dict[str, _VariantCheck]] = {name: {} for name in source.variants}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large images, which decoding will refuse
        for sample, image_checks in _check_images(source):
            for name, check in image_checks.items():
                checks[name][sample.image_id] = check
    inspected = {name: _inspection(source, name, variant_checks) for name, variant_checks in checks.items()}
    for name, inspection in inspected.items():
        if inspection.stretched:
            log.warning(
                "%s: %d of %d variants have an aspect ratio more than 2 %% off that of their original (first: %s)",
                name, inspection.stretched, inspection.count, inspection.first,
            )  # fmt: skip
    return inspected


def _check_images(source: PairedSource) -> Iterator[tuple[ImageRef, dict[str, _VariantCheck]]]:
    samples = sorted(source.samples, key=lambda sample: (source.block(sample) or ("", 0), sample.image_id))
    # A source that reads blocks keeps the last of them, and threads cannot share it.
    independent = all(source.block(sample) is None for sample in samples)
    with ThreadPoolExecutor(_THREADS * (os.cpu_count() or 1) if independent else 1) as threads:
        for start in range(0, len(samples), _AT_ONCE):
            part = samples[start : start + _AT_ONCE]
            yield from zip(part, threads.map(_check_variants, itertools.repeat(source), part), strict=True)


def _check_variants(source: PairedSource, sample: ImageRef) -> dict[str, _VariantCheck]:
    checks: dict[str, _VariantCheck] = {}
    size = _size(source, sample)
    for name in source.variants:
        variant = source.variant(name, sample)
        if variant is None:
            continue
        try:
            data = source.read_variant(name, variant)
        except Exception:
            checks[name] = "", False
            continue
        variant_size = upright_size(data)
        checks[name] = (hash_of(data), bool(size and variant_size and _stretched(size, variant_size)))
    return checks


def _size(source: PairedSource, sample: ImageRef) -> tuple[int, int] | None:
    try:
        return upright_size(source.read(sample))
    except Exception:  # it will be a failure
        return None


def _stretched(original: tuple[int, int], variant: tuple[int, int]) -> bool:
    ratio = original[0] * variant[1] / (original[1] * variant[0])
    return max(ratio, 1 / ratio) > STRETCHED


def files_hash(digests: Mapping[str, str]) -> str:
    """Returns one hash for the files of a place: image id → hash of its bytes, "" if they cannot be read."""
    lines = sorted(f"{stem(image_id)}\n{digest or 'unreadable'}\n" for image_id, digest in digests.items())
    return hash_of("".join(lines).encode("utf-8", "surrogateescape"))


def _inspection(source: PairedSource, name: str, checks: dict[str, _VariantCheck]) -> Inspection:
    stretched = sorted(image_id for image_id, (_, is_stretched) in checks.items() if is_stretched)
    measured = [sample for sample in source.samples if sample.problem is None]
    return Inspection(
        bytes_hash=files_hash({image_id: digest for image_id, (digest, _) in checks.items()}),
        count=len(checks),
        missing=sum(source.variant(name, sample) is None for sample in measured),
        stretched=len(stretched),
        first=stretched[0] if stretched else None,
    )
