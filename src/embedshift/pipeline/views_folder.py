"""A folder of originals and views: how the files of one image are written, and known again."""

import errno
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from embedshift.arrays import Pixels
from embedshift.augmentations import Suite
from embedshift.augmentations.canvas import Canvas
from embedshift.augmentations.views import view_seed
from embedshift.config import Json
from embedshift.config.attack import AttackConfig
from embedshift.config.views import Format, ViewsConfig
from embedshift.errors import EmbedshiftError, cause
from embedshift.pipeline.draw import Clock, FolderError, guarded, read_image
from embedshift.sources.base import Failure, ImageRef, Source, hash_of, storable
from embedshift.sources.to_input import ToInput
from embedshift.sources.views_file import ORIGINALS, ImageFiles, WrittenImage, file_hash, folder_of, view_path
from embedshift.store.shards import made_inside, write_atomically

# Errors of a folder that takes no file at present, whatever its name.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


@dataclass(frozen=True, kw_only=True)
class ViewsFolder:
    """A folder of originals and views, and the settings that decide its files."""

    out: Path
    config: ViewsConfig | AttackConfig
    folders: Sequence[str]
    format: Format = "png"
    quality: int = 95

    @property
    def bytes_per_image(self) -> int:
        """Number of bytes that an image holds on its way to this process: a loader writes its views."""
        return 2**16

    def path(self, folder: str, image_id: str) -> Path:
        return view_path(self.out, folder, storable(image_id), self.format)

    def is_whole(self, image_id: str, image: ImageFiles) -> bool:
        return all(self.holds(name, image_id, image) for name in self.folders)

    def holds(self, folder: str, image_id: str, image: ImageFiles) -> bool:
        """Returns whether one file of an image is as it was written."""
        return folder in image.files and file_hash(self.path(folder, image_id)) == image.files[folder]

    def write(self, folder: str, image_id: str, pixels: Pixels) -> str:
        """Writes one file; returns the hash of its bytes. `FolderError` where no file can be written."""
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


@dataclass(frozen=True, kw_only=True)
class AugmentedFolder(ViewsFolder):
    """A folder of the views of a suite."""

    config: ViewsConfig
    suite: Suite

    def canvas(self, image: Pixels) -> Canvas:
        config = self.config
        return Canvas.of(image, ToInput(config.size, config.resize), config.apply_to, config.longest)


def write_image(
    sample: ImageRef, source: Source, views: AugmentedFolder, *, ends_process: bool = False
) -> WrittenImage | Failure:
    """Draws the views of one image and writes them; an error of the image becomes a `Failure`."""
    seconds = views.config.image_timeout
    return guarded(lambda clock: _write(sample, source, views, clock), sample, source, seconds, ends_process)


def _write(sample: ImageRef, source: Source, views: AugmentedFolder, clock: Clock) -> WrittenImage:
    config, image_id = views.config, storable(sample.image_id)
    pixels_hash, canvas = read_image(sample, source, views.canvas, clock)
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
    return WrittenImage(pixels=pixels_hash, files=files, seeds=seeds, parameters=parameters, caption=sample.caption)
