"""The work on one image of `embedshift views`: its views at their own size, as files."""

import errno
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from embedshift.arrays import Pixels
from embedshift.augmentations import Suite
from embedshift.augmentations.canvas import Canvas
from embedshift.augmentations.views import view_seed
from embedshift.config import Json
from embedshift.config.views import ViewsConfig
from embedshift.errors import EmbedshiftError
from embedshift.pipeline.draw import Clock, guarded, read_canvas
from embedshift.sources.base import Failure, ImageRef, Source, hash_of, storable
from embedshift.sources.to_input import ToInput
from embedshift.sources.views_file import ORIGINALS, WrittenImage, folder_of, view_path
from embedshift.store.files import made_inside, write_atomically

# The stage of an image whose files no folder can take at present, so that the run ends; and the errors that say so.
WRITE = "write"
_ENDS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


@dataclass(frozen=True, kw_only=True)
class ViewsPlan:
    """What decides the files of written views, except the images."""

    config: ViewsConfig
    suite: Suite
    out: Path

    @property
    def bytes_per_image(self) -> int:
        """Number of bytes that an image holds on its way to this process: it is written by the loader."""
        return 2**16

    def canvas(self, image: Pixels) -> Canvas:
        config = self.config
        return Canvas.of(image, ToInput(config.size, config.resize), config.apply_to, config.longest)

    def write(self, folder: str, sample: ImageRef, pixels: Pixels) -> str:
        """Writes one file; returns the hash of its bytes."""
        path = made_inside(self.out, view_path(self.out, folder, storable(sample.image_id), self.config.format))
        options: Json = {"compress_level": 3} if self.config.format == "png" else {"quality": self.config.quality}
        encoded = io.BytesIO()
        Image.fromarray(pixels).save(encoded, self.config.format, **options)
        data = encoded.getvalue()
        write_atomically(path, lambda hidden: hidden.write_bytes(data))
        return hash_of(data)


def write_image(
    sample: ImageRef, source: Source, plan: ViewsPlan, *, ends_process: bool = False
) -> WrittenImage | Failure:
    """Draws the views of one image and writes them; an error becomes a `Failure`."""
    seconds = plan.config.image_timeout
    return guarded(lambda clock: _write(sample, source, plan, clock), sample, source, seconds, ends_process)


def _write(sample: ImageRef, source: Source, plan: ViewsPlan, clock: Clock) -> WrittenImage:
    config, image_id = plan.config, storable(sample.image_id)
    pixels_hash, canvas = read_canvas(sample, source, plan.canvas, clock)
    files: dict[str, str] = {}
    seeds: dict[str, int] = {}
    parameters: dict[str, Json] = {}

    def write(folder: str, pixels: Pixels) -> None:
        try:
            files[folder] = plan.write(folder, sample, pixels)
        except (OSError, EmbedshiftError) as error:
            if (error.errno if isinstance(error, OSError) else getattr(error.__cause__, "errno", None)) in _ENDS:
                clock.stage = WRITE
            raise

    with clock.at("draw"):
        write(ORIGINALS, canvas.image)
        for draw in range(config.draws):
            for augmentation in plan.suite:
                clock.on_stage()
                folder = folder_of(augmentation.name, draw, config.draws)
                seeds[folder] = view_seed(config.seed, image_id, augmentation.seed_name, draw)
                write(folder, canvas.changed(augmentation, seeds[folder]))
                if known := augmentation.parameters(seeds[folder]):
                    parameters[folder] = known
    return WrittenImage(pixels=pixels_hash, files=files, seeds=seeds, parameters=parameters, caption=sample.caption)
