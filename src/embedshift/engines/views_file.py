"""Views as files, of `embedshift views`: loader processes draw the views of all images and write them."""

import importlib.metadata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from embedshift.augmentations import Suite, load_suite
from embedshift.config import as_paths, validated
from embedshift.config.files import output_path
from embedshift.config.views import ViewsConfig
from embedshift.engines.job import Progress, loader_count
from embedshift.engines.loaders import Images, draw_all
from embedshift.engines.views_folder import OnStart, continued, fill, images_identity, list_images
from embedshift.errors import UsageError
from embedshift.pipeline.views_folder import AugmentedFolder, write_image
from embedshift.sources import ImageRef
from embedshift.sources.base import Failure
from embedshift.sources.views_file import ORIGINALS, VIEWS, WrittenAugmentation, WrittenImage, WrittenViews

VERSIONS = ("albumentations", "opencv-python-headless", "pillow")


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
    suite = suite or load_suite(
        config.augmentations, families=config.families, levels=config.levels, frost_textures=config.frost_textures
    )
    _refuse_names(suite)
    if config.draws * len(suite.names) > VIEWS:
        raise UsageError(f"`draws` {config.draws}: at most {VIEWS:,} views of an image can be written")
    source, samples = list_images(config, out)
    root = source.description.get("root")
    if root is not None and Path(root).resolve() in out.resolve().parents:
        raise UsageError(f"{out} is in the folder of the images; choose another `out`")
    begun = _begun(config, suite, samples)
    folders = (ORIGINALS, *begun.folders)
    folder = AugmentedFolder(
        out=out, config=config, suite=suite, folders=folders, format=config.format, quality=config.quality
    )
    workers = loader_count(config)

    def write(pending: Sequence[ImageRef]) -> Iterable[WrittenImage | Failure]:
        return draw_all(Images(pending, source, folder, write_image), min(workers, len(pending)))

    with continued(out, begun) as begun:
        return fill(begun, folder, source, samples, write, workers=workers, progress=progress, on_start=on_start)


def _refuse_names(suite: Suite) -> None:
    for name in suite.names:
        if name.startswith(".") or "/" in name or "\0" in name or name == ORIGINALS:
            raise UsageError(f"augmentation {name!r}: its name cannot be that of a folder; rename it")


def _begun(config: ViewsConfig, suite: Suite, samples: Sequence[ImageRef]) -> WrittenViews:
    on_file = config.apply_to == "file"
    return WrittenViews(
        embedshift=importlib.metadata.version("embedshift"),
        seed=config.seed,
        draws=config.draws,
        format=config.format,
        identity={
            "images": images_identity(samples),
            "augmentations": suite.describe(),
            "seed": config.seed,
            "draws": config.draws,
            "apply_to": config.apply_to,
            **({"longest": config.longest} if on_file else {"size": config.size, "resize": config.resize}),
            "format": config.format,
            **({} if config.format == "png" else {"quality": config.quality}),
            "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
        },
        augmentations={
            augmentation.name: WrittenAugmentation(
                description=augmentation.description,
                grade=augmentation.grade,
                seeded_by=augmentation.seeded_by,
            )
            for augmentation in suite
        },
    )
