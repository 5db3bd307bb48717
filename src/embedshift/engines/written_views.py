"""Written views: draws the views of all images in loader processes, which write them as files."""

import hashlib
import importlib.metadata
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from embedshift.augmentations import Suite, load_suite
from embedshift.config import Json, as_paths, validated
from embedshift.config.files import output_path
from embedshift.config.views import ViewsConfig
from embedshift.engines.job import Progress, loader_count
from embedshift.engines.loaders import Images, draw_all
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.pipeline.draw import hash_image
from embedshift.pipeline.written_views import WRITE, ViewsPlan, write_image
from embedshift.sources import ImageRef, Source, open_images
from embedshift.sources.base import Failure, storable
from embedshift.sources.pairs import by_stem, refuse_duplicate_stems
from embedshift.sources.views_file import (
    FILE,
    ORIGINALS,
    VIEWS,
    WrittenAugmentation,
    WrittenImage,
    WrittenViews,
    read_views_file,
    view_path,
    views_text,
)
from embedshift.store.files import delete_incomplete, locked, write_atomically
from embedshift.store.identity import differences

log = logging.getLogger(__name__)

# Images listed, images written before, and skipped files.
OnStart = Callable[[int, int, Mapping[str, int]], None]
# views.json is written again after this many times the seconds that the last writing took, and these at least.
_TIMES, _SECONDS = 20.0, 5.0


def write_views(
    images: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    augmentations: str | Path | Mapping[str, Any] = ViewsConfig.augmentations,
    progress: Progress | None = None,
    **settings: Any,
) -> WrittenViews:
    """Writes the views of images as files, for `run(pairs="DIR/views.json")` and for other programs.

    Args:
        images: As in `run`.
        out: The folder of the files: `original`, one folder for each augmentation, and views.json. What is there from
            an earlier call with the same settings is kept.
        augmentations: As in `run`.
        progress: Called as `progress(n)` whenever n more images are written.
        **settings: Fields of `ViewsConfig`: `families`, `levels`, `frost_textures`, `apply_to` ("file" or "input"),
            `longest`, `size` and `resize` (of the input), `format` ("png", "jpeg", "webp"), `quality`, `limit`,
            `sample`, `seed`, `draws`, `workers`, `image_timeout`.

    Returns:
        The content of views.json: by image the hash of each file, its seed and its parameters, and all failures.

    Raises:
        UsageError: A path is missing, a name or value is not accepted, or the folder holds other views.
        EmbedshiftError: No image was found or written, or the folder cannot be written.

    Example:
        >>> import tempfile, numpy as np
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.fromarray(np.zeros((8, 12, 3), np.uint8)).save(folder / "a.bmp")
        >>> mirror = {"mirror": lambda image, rng: image[:, ::-1]}
        >>> views = write_views(folder, out=folder.parent / f"{folder.name}-views", augmentations=mirror, workers=0)
        >>> sorted(views.images["a.bmp"].files)
        ['mirror', 'original']
    """
    named = isinstance(augmentations, str | Path)
    suite = None if named else load_suite(augmentations)
    given = {"images": as_paths(images), "augmentations": str(augmentations) if named else "custom"}
    config = validated(ViewsConfig, {**given, **settings})
    return write_configured(config, output_path(out), suite=suite, progress=progress or (lambda _: None))


def write_configured(
    config: ViewsConfig,
    out: Path,
    *,
    suite: Suite | None = None,
    progress: Progress = lambda _: None,
    on_start: OnStart = lambda *_: None,
) -> WrittenViews:
    plan = ViewsPlan(config=config, suite=suite or _suite(config), out=out)
    _refuse_names(plan.suite)
    if config.draws * len(plan.suite.names) > VIEWS:
        raise UsageError(f"`draws` {config.draws}: at most {VIEWS:,} views of an image can be written")
    source, samples = _list_images(config, out)
    workers = loader_count(config)
    with locked(out, ORIGINALS):
        views = _begun(plan, samples)
        delete_incomplete(out)
        kept = _kept(views, samples, source, plan, workers)
        views = replace(views, images=kept, failures=())
        on_start(len(samples), len(kept), source.skipped)
        _save(out, views)
        pending = [sample for sample in samples if storable(sample.image_id) not in kept]
        for newer in _written(views, pending, source, plan, workers):
            views = newer
            progress(1)
        _save(out, views)
    if not views.images:
        first = views.failures[0]
        words = f"all {len(views.failures)} failed, first {first.image_id}: {first.reason}"
        raise EmbedshiftError(f"no views could be written: {words}")
    return views


def _suite(config: ViewsConfig) -> Suite:
    return load_suite(
        config.augmentations, families=config.families, levels=config.levels, frost_textures=config.frost_textures
    )


def _refuse_names(suite: Suite) -> None:
    for name in suite.names:
        if name.startswith(".") or "/" in name or "\0" in name or name == ORIGINALS:
            raise UsageError(f"augmentation {name!r}: its name cannot be that of a folder; rename it")


def _list_images(config: ViewsConfig, out: Path) -> tuple[Source, list[ImageRef]]:
    source, samples = open_images(config.images, limit=config.limit, sample=config.sample, seed=config.seed)
    refuse_duplicate_stems("images", by_stem(samples), by_stem(samples))
    root = source.description.get("root")
    if root is not None and Path(root).resolve() in (out.resolve(), *out.resolve().parents):
        raise UsageError(f"{out} is in the folder of the images; choose another `out`")
    return source, sorted(samples)


def _begun(plan: ViewsPlan, samples: Sequence[ImageRef]) -> WrittenViews:
    """Returns the views in the folder, to go on with; refuses other ones and names the differences."""
    config, identity = plan.config, _identity(plan, samples)
    file = plan.out / FILE
    stored = read_views_file(file) if file.exists() else None
    if stored is not None and (changes := differences(stored.identity, identity)):
        raise UsageError(f"{plan.out} contains other views: {'; '.join(changes)}. Choose another `out`, or delete it")
    if stored is None and any(path.name not in (ORIGINALS, ".lock") for path in plan.out.iterdir()):
        raise UsageError(f"{plan.out}: contains files that `embedshift views` did not write; choose another `out`")
    return WrittenViews(
        embedshift=importlib.metadata.version("embedshift"),
        seed=config.seed,
        draws=config.draws,
        format=config.format,
        identity=identity,
        augmentations={
            augmentation.name: WrittenAugmentation(
                description=augmentation.description,
                grade=augmentation.grade,
                seeded_by=augmentation.seeded_by,
            )
            for augmentation in plan.suite
        },
        images={} if stored is None else stored.images,
    )


def _identity(plan: ViewsPlan, samples: Sequence[ImageRef]) -> Json:
    config = plan.config
    ids = "\n".join(storable(sample.image_id) for sample in samples)
    on_file = {"longest": config.longest}
    identity = {
        "images": {"count": len(samples), "ids_hash": hashlib.sha256(ids.encode()).hexdigest()},
        "augmentations": plan.suite.describe(),
        "seed": config.seed,
        "draws": config.draws,
        "apply_to": config.apply_to,
        **(on_file if config.apply_to == "file" else {"size": config.size, "resize": config.resize}),
        "format": config.format,
        **({} if config.format == "png" else {"quality": config.quality}),
        "versions": {
            name: importlib.metadata.version(name) for name in ("albumentations", "opencv-python-headless", "pillow")
        },
    }
    as_stored: Json = json.loads(json.dumps(identity))
    return as_stored


def _kept(
    views: WrittenViews, samples: Sequence[ImageRef], source: Source, plan: ViewsPlan, workers: int
) -> dict[str, WrittenImage]:
    """Returns the images all of whose files are there, and whose own pixels have not changed since."""

    def is_whole(sample: ImageRef) -> bool:
        image_id = storable(sample.image_id)
        files = views.images[image_id].files if image_id in views.images else ()
        return bool(files) and all(view_path(plan.out, folder, image_id, views.format).is_file() for folder in files)

    whole = [sample for sample in samples if is_whole(sample)]
    hashes = draw_all(Images(whole, source, plan, hash_image), min(workers, len(whole)))
    kept = {}
    for sample, pixels in zip(whole, hashes, strict=True):
        image = views.images[storable(sample.image_id)]
        if isinstance(pixels, Failure) or pixels == image.pixels:
            kept[storable(sample.image_id)] = image
        else:
            log.warning("%s has changed since its views were written; writing them again", sample.image_id)
    return kept


def _written(
    views: WrittenViews, pending: Sequence[ImageRef], source: Source, plan: ViewsPlan, workers: int
) -> Iterator[WrittenViews]:
    """Yields the views with one more image each time; writes views.json now and then."""
    images, failures = dict(views.images), list[Failure]()
    results = draw_all(Images(pending, source, plan, write_image), min(workers, len(pending)))
    saved, pause = time.monotonic(), _SECONDS
    for sample, result in zip(pending, results, strict=True):
        if isinstance(result, Failure) and result.stage == WRITE:
            raise EmbedshiftError(result.reason)
        if isinstance(result, Failure):
            failures.append(result)
        else:
            images[storable(sample.image_id)] = result
        views = replace(views, images=images, failures=tuple(failures))
        if time.monotonic() - saved > pause:
            begun = time.monotonic()
            _save(plan.out, views)
            saved = time.monotonic()
            pause = max(_SECONDS, _TIMES * (saved - begun))
        yield views


def _save(out: Path, views: WrittenViews) -> None:
    write_atomically(out / FILE, lambda hidden: hidden.write_text(views_text(views), encoding="utf-8"))
