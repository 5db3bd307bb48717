"""Views as files, for `embedshift views`: loader processes draw and write the views of all images."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from embedshift.arrays import Pixels
from embedshift.augmentations import Suite, load_suite
from embedshift.augmentations.views import Canvas, view_seed
from embedshift.config import Json, ViewsConfig
from embedshift.engines.job import Progress, Start, loader_count
from embedshift.engines.loaders import Images, draw_all
from embedshift.engines.views_folder import ViewsFolder, begun_views, continued, fill, list_images
from embedshift.errors import UsageError
from embedshift.pipeline.draw import Clock, OnStep, guarded, read_image
from embedshift.registry.extras import need_encode
from embedshift.sources import ImageRef, Source
from embedshift.sources.base import Failure, storable
from embedshift.sources.images import ToInput
from embedshift.sources.views_file import ORIGINALS, VIEWS, ViewsAugmentation, ViewsFile, ViewsImage, folder_of

VERSIONS = ("albumentations", "opencv-python-headless", "pillow")


def run_views(
    config: ViewsConfig,
    out: Path,
    *,
    suite: Suite | None = None,
    progress: Progress = lambda _: None,
    on_start: Callable[[Start], None] = lambda _: None,
) -> ViewsFile:
    need_encode("writing views")
    if config.restyle is not None:
        from embedshift.engines.restyle import run_restyle  # with torch

        if suite is not None:
            raise UsageError("`restyle` takes `prompts` and `strengths`; leave out augmentations")
        return run_restyle(config, out, progress=progress, on_start=on_start)
    defaults = ViewsConfig(images=config.images)
    for name in ("prompts", "strengths", "steps", "batch_size"):
        if getattr(config, name) != getattr(defaults, name):
            raise UsageError(f"`{name}` needs `restyle`, the model that draws such views")
    suite = suite or load_suite(
        config.augmentations, families=config.families, levels=config.levels, frost_textures=config.frost_textures
    )
    for name in suite.names:
        if name.startswith(".") or "/" in name or "\0" in name or name == ORIGINALS:
            raise UsageError(f"augmentation {name!r}: its name cannot be that of a folder; rename it")
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

    def write(pending: Sequence[ImageRef]) -> Iterable[ViewsImage | Failure]:
        return draw_all(Images(pending, source, folder, write_image), min(workers, len(pending)))

    with continued(out, begun) as begun:
        return fill(begun, folder, source, samples, write, workers=workers, progress=progress, on_start=on_start)


def _begun(config: ViewsConfig, suite: Suite, samples: Sequence[ImageRef]) -> ViewsFile:
    place: Json = {} if config.apply_to == "file" else {"size": config.size, "resize": config.resize}
    augmentations = {
        augmentation.name: ViewsAugmentation(
            description=augmentation.description, level=augmentation.level, seeded_by=augmentation.seeded_by
        )
        for augmentation in suite
    }
    return begun_views(config, samples, augmentations, {"augmentations": suite.describe(), **place}, VERSIONS)


@dataclass(frozen=True, kw_only=True)
class AugmentedFolder(ViewsFolder):
    config: ViewsConfig
    suite: Suite

    def canvas(self, image: Pixels) -> Canvas:
        config = self.config
        return Canvas.of(image, ToInput(config.size, config.resize), config.apply_to, config.longest)


def write_image(
    sample: ImageRef, source: Source, views: AugmentedFolder, *, on_step: OnStep = None
) -> ViewsImage | Failure:
    seconds = views.config.image_timeout
    return guarded(lambda clock: _write(sample, source, views, clock), sample, source, seconds, on_step)


def _write(sample: ImageRef, source: Source, views: AugmentedFolder, clock: Clock) -> ViewsImage:
    config, image_id = views.config, storable(sample.image_id)
    pixels_hash, canvas = read_image(sample, source, lambda image, _: views.canvas(image), clock)
    seeds: dict[str, int] = {}
    parameters: dict[str, Json] = {}
    with clock.at("draw"):
        files = {ORIGINALS: views.write(ORIGINALS, image_id, canvas.image)}
        for draw in range(config.draws):
            for augmentation in views.suite:
                clock.on_stage()
                folder = folder_of(augmentation.name, draw, config.draws)
                seeds[folder] = view_seed(config.seed, image_id, augmentation.seed_name, draw)
                files[folder] = views.write(folder, image_id, canvas.changed(augmentation, seeds[folder]))
                if known := augmentation.parameters(seeds[folder]):
                    parameters[folder] = known
    return ViewsImage(pixels=pixels_hash, files=files, seeds=seeds, parameters=parameters, caption=sample.caption)
