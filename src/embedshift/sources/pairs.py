"""Images and their ready-made variants: names, places, matches by ids, and the inspection before a study begins."""

import dataclasses
import itertools
import logging
import os
import posixpath
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from embedshift.config.safe_files import expanded
from embedshift.errors import UsageError
from embedshift.sources.base import Block, ImageRef, Source, hash_of, stem
from embedshift.sources.folder import file_and_column, is_url
from embedshift.sources.images import upright_size
from embedshift.sources.views_file import ViewsFile, is_views_file, read_views_file

log = logging.getLogger(__name__)

_ENDING = re.compile(r"\.(tar|parquet|txt|npy)$", re.IGNORECASE)

Groups = dict[str, list[ImageRef]]


class PairedSource(Source):
    def __init__(
        self,
        originals: Source,
        samples: Sequence[ImageRef],
        variants: Mapping[str, Source],
        descriptions: Mapping[str, Mapping[str, Any]],
        *,
        allow_missing: bool = False,
    ) -> None:
        self._originals, self._sources, self._may_be_missing = originals, variants, allow_missing
        listed = by_stem(originals.samples)
        stems = {sample.image_id: stem(sample.image_id) for sample in samples}
        refuse_duplicate_stems("images", listed, stems.values())
        self.skipped: Counter[str] = Counter(originals.skipped)
        matched: dict[str, dict[str, ImageRef]] = {}
        for name, source in variants.items():
            groups = by_stem(source.samples)
            refuse_duplicate_stems(f"variants in {name}", groups, stems.values())
            matched[name] = {
                image: groups[image_stem][0] for image, image_stem in stems.items() if image_stem in groups
            }
            self.skipped.update(source.skipped)
            if left := sum(len(groups[name_stem]) for name_stem in groups.keys() - listed.keys()):
                self.skipped[f"no original: {name}"] = left
                log.info("%s: %d variants have no original and are skipped", name, left)
            _check_matches(name, matched[name], samples, source)
        self.samples = [self._with_variants(sample, matched) for sample in samples]
        self.description = {**originals.description, "variants": dict(descriptions)}

    @property
    def variants(self) -> tuple[str, ...]:
        return tuple(self._sources)

    def variant(self, name: str, sample: ImageRef) -> ImageRef | None:
        return next((variant for own_name, variant in sample.variants if own_name == name), None)

    def read(self, sample: ImageRef) -> bytes:
        return self._originals.read(sample)

    def read_variant(self, name: str, variant: ImageRef) -> bytes:
        return self._sources[name].read(variant)

    def block(self, sample: ImageRef) -> Block | None:
        read = ((self._sources[name], variant) for name, variant in sample.variants)
        blocks = (of.block(image) for of, image in [(self._originals, sample), *read])
        return next((block for block in blocks if block is not None), None)

    def _with_variants(self, sample: ImageRef, matched: Mapping[str, Mapping[str, ImageRef]]) -> ImageRef:
        """Returns an image with its variants, so that those of others go to no other process."""
        own = ((name, of_images.get(sample.image_id)) for name, of_images in matched.items())
        sample = dataclasses.replace(sample, variants=tuple((name, variant) for name, variant in own if variant))
        lacking = [name for name in self.variants if self.variant(name, sample) is None]
        enough = not lacking or (self._may_be_missing and len(lacking) < len(self._sources))
        if enough or sample.problem is not None:
            return sample
        return dataclasses.replace(sample, problem=f"no variant in {', '.join(lacking)}")


def by_stem(samples: Sequence[ImageRef]) -> Groups:
    groups: Groups = {}
    for sample in samples:
        groups.setdefault(stem(sample.image_id), []).append(sample)
    return groups


def refuse_duplicate_stems(what: str, groups: Groups, stems: Any) -> None:
    for image_stem in stems:
        if len(groups.get(image_stem, ())) > 1:
            first, second = sorted(sample.location for sample in groups[image_stem][:2])
            words = f"two {what} have the same name {image_stem!r} without the file extension"
            raise UsageError(f"{words}: {first} and {second}; rename one")


def _check_matches(name: str, matched: Mapping[str, ImageRef], samples: Sequence[ImageRef], source: Source) -> None:
    """Refuses a source without any matching variant; warns if few match."""
    if not matched:
        image_ids, variant_ids = (_first(refs) for refs in (samples, source.samples))
        raise UsageError(
            f"no variant in {name} matches an image: an image and its variant need the same id without the file "
            f"extension, but here images are named {image_ids} and variants {variant_ids}. Sets that are not paired "
            "image by image, such as ImageNet-R and ImageNet, cannot be measured as pairs"
        )
    if (lacking := len(samples) - len(matched)) > 0:
        first = min(sample.image_id for sample in samples if sample.image_id not in matched)
        level = logging.WARNING if len(matched) < len(samples) / 2 else logging.INFO
        log.log(
            level, "%s: variants for %d of %d images, none for %d (first: %s)",
            name, len(matched), len(samples), lacking, first,
        )  # fmt: skip


def _first(samples: Sequence[ImageRef]) -> str:
    return ", ".join(sorted(repr(sample.image_id) for sample in samples)[:2]) or "nothing (no files)"


def named_variants(pairs: Sequence[str]) -> dict[str, str]:
    paths: dict[str, str] = {}
    if (views := views_file_of(pairs)) is not None:
        return {folder: f"{pairs[0]}#{folder}" for folder in views.folders}
    for text in pairs:
        name, path = _named(text)
        if name in paths:
            raise UsageError(f"two variants have the name {name!r}: {paths[name]} and {path}; name them as NAME=PATH")
        paths[name] = path
    return paths


def views_file_of(pairs: Sequence[str]) -> ViewsFile | None:
    """Returns the file of written views that the setting `pairs` names; None if it names other variants."""
    files = [path for path in pairs if is_views_file(path)]
    if files and len(pairs) > 1:
        raise UsageError(f"{files[0]}: give the file of written views alone")
    return read_views_file(expanded(files[0])) if files else None


def _named(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    # A folder may be called quality=50.
    if equals and name and path and "/" not in name and not os.path.exists(file_and_column(text)[0]):
        return name, path
    file, column = file_and_column(text)
    file = file.rstrip("/") if is_url(file) else os.path.abspath(os.path.expanduser(file))
    return column or _ENDING.sub("", posixpath.basename(file)), text


# A larger difference in aspect ratio is no rounding of pixels: resized to a square, the content is stretched.
STRETCHED = 1.02
# Images that are waited for at once, and threads, most of whose time is spent in reading.
_AT_ONCE, _THREADS = 1024, 4


@dataclass(frozen=True)
class Inspection:
    """What is known of all variants in a place: a hash, numbers, and the first one that is stretched."""

    bytes_hash: str
    count: int
    missing: int = 0
    stretched: int = 0
    first: str | None = None


# The hash of a variant's bytes, "" if they cannot be read; and whether it is stretched.
_VariantCheck = tuple[str, bool]


def inspect(source: PairedSource) -> dict[str, Inspection]:
    """Returns name → inspection of the variants of all images; reads every image and every variant once."""
    count = sum(source.variant(name, sample) is not None for name in source.variants for sample in source.samples)
    log.info("hashing the bytes of %d variants", count)
    found: dict[str, dict[str, _VariantCheck]] = {name: {} for name in source.variants}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large images, which decoding will refuse
        for sample, checks in _check_images(source):
            for name, check in checks.items():
                found[name][sample.image_id] = check
    measured = [sample for sample in source.samples if sample.problem is None]
    inspections: dict[str, Inspection] = {}
    for name, of_images in found.items():
        stretched = [image_id for image_id, (_, is_stretched) in of_images.items() if is_stretched]
        first, missing = min(stretched, default=None), sum(source.variant(name, sample) is None for sample in measured)
        if stretched:
            words = "%s: %d of %d variants have an aspect ratio more than 2 %% off that of their original (first: %s)"
            log.warning(words, name, len(stretched), len(of_images), first)
        digest = files_hash({image_id: digest for image_id, (digest, _) in of_images.items()})
        inspections[name] = Inspection(digest, len(of_images), missing, len(stretched), first)
    return inspections


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
    try:
        size = upright_size(source.read(sample))
    except Exception:  # it will be a failure
        size = None
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
        ratio = size[0] * variant_size[1] / (size[1] * variant_size[0]) if size and variant_size else 1.0
        checks[name] = hash_of(data), max(ratio, 1 / ratio) > STRETCHED
    return checks


def files_hash(digests: Mapping[str, str]) -> str:
    """Returns one hash for the files of a place: image id → hash of its bytes, "" if they cannot be read."""
    lines = sorted(f"{stem(image_id)}\n{digest or 'unreadable'}\n" for image_id, digest in digests.items())
    return hash_of("".join(lines).encode("utf-8", "surrogateescape"))
