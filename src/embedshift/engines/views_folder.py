"""Fills a folder with originals and views, for `attack` and `views`; existing files are kept."""

import contextlib
import dataclasses
import errno
import hashlib
import importlib.metadata
import io
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from embedshift.arrays import Pixels
from embedshift.config import AttackConfig, Format, Json, ViewsConfig
from embedshift.engines.job import Progress, Start
from embedshift.engines.loaders import Images, draw_all
from embedshift.errors import EmbedshiftError, UsageError, cause
from embedshift.pipeline.draw import Clock, FolderError, OnStep, guarded, hash_image, read_image
from embedshift.registry.extras import versions
from embedshift.sources import ImageRef, Source, open_images
from embedshift.sources.base import Failure, hash_of, storable
from embedshift.sources.pairs import by_stem, refuse_duplicate_stems
from embedshift.sources.views_file import (
    ORIGINALS,
    ImageFiles,
    M,
    Manifest,
    ViewsAugmentation,
    ViewsFile,
    file_hash,
    read_manifest,
    view_path,
)
from embedshift.store.files import delete_incomplete, locked, made_inside, write_atomically
from embedshift.store.info import differences

log = logging.getLogger(__name__)

# Makes the files of images one after the other.
Make = Callable[[Sequence[ImageRef]], Iterable[ImageFiles | Failure]]
# The manifest is written again after this multiple of the time of its last writing.
_TIMES = 20.0
# Errors of a folder that takes no file at present, whatever its name.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


@dataclass(frozen=True, kw_only=True)
class ViewsFolder:
    out: Path
    config: ViewsConfig | AttackConfig
    folders: Sequence[str]
    format: Format = "png"
    quality: int = 95

    @property
    def bytes_per_image(self) -> int:
        """Maximum bytes of an image on its way to this process, since a loader writes its views."""
        return 2**16

    def canvas(self, image: Pixels) -> Any:
        """Returns the canvas of an image."""
        raise NotImplementedError

    def path(self, folder: str, image_id: str) -> Path:
        return view_path(self.out, folder, storable(image_id), self.format)

    def is_whole(self, image_id: str, image: ImageFiles) -> bool:
        return all(self.holds(name, image_id, image) for name in self.folders)

    def holds(self, folder: str, image_id: str, image: ImageFiles) -> bool:
        return folder in image.files and file_hash(self.path(folder, image_id)) == image.files[folder]

    def write(self, folder: str, image_id: str, pixels: Pixels) -> str:
        """Writes one file and returns the hash of its bytes; `FolderError` if no file can be written."""
        path, encoded = self.path(folder, image_id), io.BytesIO()
        options: Json = {"compress_level": 3} if self.format == "png" else {"quality": self.quality}
        Image.fromarray(pixels).save(encoded, self.format, **options)
        data = encoded.getvalue()
        try:
            write_atomically(made_inside(self.out, path), lambda hidden: hidden.write_bytes(data))
        except (OSError, EmbedshiftError) as error:
            if (error.errno if isinstance(error, OSError) else getattr(error.__cause__, "errno", None)) in _FULL:
                raise FolderError(cause(error)) from error
            raise
        return hash_of(data)


def list_images(config: AttackConfig | ViewsConfig, out: Path) -> tuple[Source, list[ImageRef]]:
    source, samples = open_images(config.images, limit=config.limit, sample=config.sample, seed=config.seed)
    refuse_duplicate_stems("images", by_stem(samples), by_stem(samples))
    root = source.description.get("root")
    if root is not None and Path(root).resolve() in (out.resolve(), (out / ORIGINALS).resolve()):
        raise UsageError(f"{out} is the folder of the images; choose another `out`")
    return source, sorted(samples)


def read_original(
    sample: ImageRef, source: Source, folder: ViewsFolder, *, on_step: OnStep = None
) -> tuple[str, Pixels] | Failure:
    def read(clock: Clock) -> tuple[str, Pixels]:
        return read_image(sample, source, lambda image, _: folder.canvas(image), clock)

    return guarded(read, sample, source, folder.config.image_timeout, on_step)


def made_one_by_one(
    pending: Sequence[ImageRef],
    source: Source,
    folder: ViewsFolder,
    stage: str,
    make: Callable[[ImageRef, str, Pixels], ImageFiles],
) -> Iterator[ImageFiles | Failure]:
    """Yields the result of each image, its hash and its pixels, made in this process; or a failure."""
    originals = draw_all(Images(pending, source, folder, read_original), workers=0)
    for sample, original in zip(pending, originals, strict=True):
        result: ImageFiles | Failure
        try:
            result = original if isinstance(original, Failure) else make(sample, *original)
        except FolderError:
            raise
        except EmbedshiftError as error:
            result = Failure(storable(sample.image_id), stage, cause(error))
        yield result


def images_identity(samples: Sequence[ImageRef]) -> Json:
    ids = "\n".join(sorted(storable(sample.image_id) for sample in samples))
    return {"count": len(samples), "ids_hash": hashlib.sha256(ids.encode()).hexdigest()}


def begun_views(
    config: ViewsConfig,
    samples: Sequence[ImageRef],
    augmentations: Mapping[str, ViewsAugmentation],
    made_by: Json,
    libraries: Sequence[str],
) -> ViewsFile:
    """Returns views.json before any image is written; its identity holds `made_by`, which decides the views."""
    identity: Json = {
        "images": images_identity(samples),
        **made_by,
        "seed": config.seed,
        "draws": config.draws,
        "apply_to": config.apply_to,
        **({"longest": config.longest} if config.apply_to == "file" else {}),
        "format": config.format,
        **({} if config.format == "png" else {"quality": config.quality}),
        "versions": versions(libraries),
    }
    return ViewsFile(
        embedshift=importlib.metadata.version("embedshift"),
        seed=config.seed,
        draws=config.draws,
        format=config.format,
        identity=identity,
        augmentations=augmentations,
    )


@contextlib.contextmanager
def continued(
    out: Path, begun: M, changes: Callable[[Mapping[str, Any], Mapping[str, Any]], list[str]] = differences
) -> Iterator[M]:
    """Locks a folder, and returns `begun` with the existing images; refuses a folder with other content."""
    file, identity = out / begun.FILE, json.loads(json.dumps(begun.identity))
    with locked(out, ORIGINALS):
        if os.path.lexists(file):
            stored = read_manifest(type(begun), file)
            if changed := changes(stored.identity, identity):
                words = f"{'; '.join(changed)}. Choose another `out`, or delete it"
                raise UsageError(f"{out} contains {begun.OTHER}: {words}")
            begun = begun.continuing(stored)
        elif any(path.name not in (ORIGINALS, ".lock") for path in out.iterdir()):
            words = f"contains files that `embedshift {begun.COMMAND}` did not write; choose another `out`"
            raise UsageError(f"{out}: {words}")
        delete_incomplete(out)
        yield begun


def fill(
    begun: M,
    folder: ViewsFolder,
    source: Source,
    samples: Sequence[ImageRef],
    make: Make,
    *,
    workers: int = 0,
    progress: Progress,
    on_start: Callable[[Start], None],
) -> M:
    """Makes the missing images and writes the manifest now and then; returns the last manifest."""
    done = _done(begun, folder, source, samples, workers)
    pending = [sample for sample in samples if sample.image_id not in done]
    on_start(Start(folder.out, len(samples), len(done), "resumed" if done else "new", source.skipped))
    images, failures = dict(begun.images), list[Failure]()

    def manifest() -> M:
        return replace(begun, images=dict(sorted(images.items())), failures=tuple(failures))

    next_save = save_manifest(folder.out, manifest())
    for sample, result in zip(pending, make(pending), strict=True):
        image_id = storable(sample.image_id)
        if isinstance(result, Failure):
            images.pop(image_id, None)
            failures.append(result)
        else:
            images[image_id] = result
        if time.monotonic() > next_save:
            next_save = save_manifest(folder.out, manifest())
        progress(1)
    save_manifest(folder.out, filled := manifest())
    if len(failures) == len(samples):
        first = failures[0]
        words = f"all {len(failures)} failed, first {first.image_id}: {first.reason}"
        raise EmbedshiftError(f"{begun.NOTHING}: {words}")
    return filled


def _done(begun: M, folder: ViewsFolder, source: Source, samples: Sequence[ImageRef], workers: int) -> set[str]:
    """Returns the ids of the images whose files and pixels are unchanged."""
    there = {sample: begun.images.get(storable(sample.image_id)) for sample in samples}
    whole = {sample: image for sample, image in there.items() if image and folder.is_whole(sample.image_id, image)}
    hashes = draw_all(Images(list(whole), source, folder, hash_image), min(workers, len(whole)))
    done = set[str]()
    for (sample, image), pixels in zip(whole.items(), hashes, strict=True):
        if isinstance(pixels, Failure) or pixels == image.pixels:
            done.add(sample.image_id)
        else:
            log.warning("%s %s", sample.image_id, begun.AGAIN)
    return done


def save_manifest(out: Path, manifest: Manifest) -> float:
    """Writes the manifest, escaped, because a name may hold bytes that are no text; returns when to write it again."""
    begun = time.monotonic()
    text = json.dumps(dataclasses.asdict(manifest))
    write_atomically(out / manifest.FILE, lambda hidden: hidden.write_text(text, encoding="utf-8"))
    ended = time.monotonic()
    return ended + _TIMES * (ended - begun)
