"""Sources of images: each lists its samples and reads the bytes of one."""

import contextlib
import os
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from embedshift.config.safe_files import read_file
from embedshift.errors import EmbedshiftError, UsageError, cause
from embedshift.registry import Registry
from embedshift.sources.base import (
    ENDINGS,
    IMAGE_BYTES,
    ImageRef,
    Shard,
    Source,
    describe_skipped,
    select,
    shuffle,
    split,
    stem,
    without_folders,
)
from embedshift.sources.datasets import DatasetSource, ParquetSource
from embedshift.sources.folder import FolderSource, expand, file_and_column, holds_study, is_url
from embedshift.sources.pairs import Inspection, PairedSource, inspect, named_variants
from embedshift.sources.roots import Roots, moved, own_places, remember_roots
from embedshift.sources.tar import TarSource
from embedshift.sources.vector_source import KIND as VECTORS
from embedshift.sources.vector_source import ListedImages, VectorSource
from embedshift.sources.views_file import ViewsSource, is_views_file
from embedshift.sources.web import UrlSource, answered, file_system, is_image_address

__all__ = [
    "SOURCES",
    "FolderSource",
    "ImageRef",
    "Inspection",
    "PairedSource",
    "Roots",
    "Shard",
    "Source",
    "VectorSource",
    "describe_skipped",
    "image_reader",
    "inspect",
    "moved",
    "named_variants",
    "open_images",
    "open_pairs",
    "open_source",
    "own_places",
    "remember_roots",
    "select",
    "shuffle",
    "split",
    "variant_reader",
    "without_folders",
]

_COMPRESSED = re.compile(r"\.(tar\.\w+|tgz|tbz2?|txz|zip|7z|rar)$", re.IGNORECASE)

# Of an address; github has its owner and repository there.
_PASSWORD = re.compile(r"(?<!github:)//[^/?#@]*:[^/?#]*@")

SOURCES: Registry[Callable[[Sequence[str]], Source]] = Registry("source")
SOURCES.add("folder", FolderSource)
SOURCES.add("url", UrlSource)
SOURCES.add("tar", TarSource)
SOURCES.add("parquet", ParquetSource)
SOURCES.add("dataset", DatasetSource)
SOURCES.add("views", ViewsSource)
SOURCES.add(VECTORS, ListedImages)


def open_source(paths: Sequence[str]) -> Source:
    entries = [pair for path in paths for entry in expand(path) for pair in _kinds(entry)]
    kinds = list(dict.fromkeys(kind for kind, _ in entries))
    if len(kinds) > 1:
        raise UsageError(f"images of several kinds ({', '.join(kinds)}); use one kind per study")
    return SOURCES[kinds[0] if kinds else "folder"](list(dict.fromkeys(entry for _, entry in entries)))


def open_images(
    paths: Sequence[str], *, limit: int | None, sample: int | None, seed: int, source: Source | None = None
) -> tuple[Source, list[ImageRef]]:
    source = open_source(paths) if source is None else source
    samples = select(source.samples, limit=limit, sample=sample, seed=seed)
    if not samples:
        raise EmbedshiftError(f"no image in {', '.join(paths) or 'nothing'}{describe_skipped(source.skipped)}")
    return source, samples


def open_pairs(
    originals: Source, samples: Sequence[ImageRef], pairs: Sequence[str], *, allow_missing: bool
) -> PairedSource:
    named = named_variants(pairs)
    sources = {name: open_source([path]) for name, path in named.items()}
    descriptions = {
        # A folder is listed again by its path, which may be a list; other sources describe their files.
        name: {"paths": [path if is_url(path) else os.path.abspath(os.path.expanduser(path))], **source.description}
        for (name, path), source in zip(named.items(), sources.values(), strict=True)
    }
    return PairedSource(originals, samples, sources, descriptions, allow_missing=allow_missing)


def _kinds(entry: str) -> list[tuple[str, str]]:
    if is_views_file(entry):
        return [("views", entry)]
    if is_url(entry):
        if hidden := _PASSWORD.search(entry):
            raise UsageError(
                f"{entry[: hidden.start()]}//…@{entry[hidden.end() :]}: an address with a password, which the study "
                "would store; put it into ~/.netrc (http) or the settings of fsspec, and give the address without it"
            )
        try:
            with contextlib.suppress(ValueError):  # an unknown scheme, which cannot be listed either
                file_system(entry)
            if is_image_address(entry):
                return [("url", entry)]
        except ImportError as error:
            raise UsageError(f"{entry}: {error}; install what is missing, or give a local path") from error
        except Exception as error:  # some file systems ask their server at once
            raise UsageError(f"{entry}: cannot be opened ({cause(error)[:300]})") from error
    if _COMPRESSED.search(entry):
        raise UsageError(f"{entry}: a compressed archive; unpack it, or give a .tar that is not compressed")
    for ending, kind in ((".tar", "tar"), (".parquet", "parquet")):
        if file_and_column(entry)[0].lower().endswith(ending):
            return [(kind, entry)]
    if not is_url(entry) and not os.path.isdir(entry):
        return [("folder", entry)]
    names = _names(entry)
    if "dataset_dict.json" in names or {"state.json", "dataset_info.json"} <= names:
        return [("dataset", entry)]
    if not any(os.path.splitext(name)[1].lower() in ENDINGS for name in names) and not holds_study(entry):
        for ending, kind in ((".tar", "tar"), (".parquet", "parquet")):
            archives = sorted(name for name in names if name.lower().endswith(ending) and not name.startswith("."))
            if archives:
                return [(kind, posixpath.join(entry, name)) for name in archives]
    return [("url" if is_url(entry) else "folder", entry)]


def _names(entry: str) -> set[str]:
    """Returns the names in a folder; empty for a file, and for a folder that cannot be listed."""
    try:
        files, path = file_system(entry)
        is_folder = answered(lambda: files.isdir(path))
        return {posixpath.basename(name.rstrip("/")) for name in files.ls(path, detail=False)} if is_folder else set()
    except TimeoutError as error:
        raise UsageError(f"{entry}: {cause(error)}") from error
    except Exception:
        return set()


def image_reader(description: Mapping[str, Any], roots: Roots) -> Callable[[str], bytes]:
    if description["kind"] == "folder":
        root = Path(description["root"])

        def read(image_id: str) -> bytes:
            # study.json and rows are UTF-8, whatever encoding of file names the locale assumes.
            path = os.fsdecode(str(root / image_id).encode("utf-8", "surrogateescape"))
            roots.check(path)
            return read_file(path, IMAGE_BYTES)

        return read
    return _reader(description, lambda image_id: image_id, roots)


def variant_reader(description: Mapping[str, Any], roots: Roots) -> Callable[[str], bytes]:
    return _reader(description, stem, roots)


def _reader(description: Mapping[str, Any], name: Callable[[str], str], roots: Roots) -> Callable[[str], bytes]:
    for location in own_places(description):
        roots.check(location)
    kind = description["kind"]
    key = kind, *description["paths"]
    columns = (description["columns"],) if "columns" in description else ()
    source = roots.opened[key] = roots.opened.get(key) or SOURCES[kind](description["paths"], *columns)
    samples = {name(sample.image_id): sample for sample in source.samples}

    def read(image_id: str) -> bytes:
        if name(image_id) not in samples:
            raise EmbedshiftError("it is no longer in its source")
        sample = samples[name(image_id)]
        if kind in ("folder", "views", VECTORS):  # a list may name any file, and a link may lead anywhere
            roots.check(sample.location)
        return source.read(sample)

    return read
