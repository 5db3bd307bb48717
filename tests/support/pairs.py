"""Images and what OpenCV makes of them at two qualities: the pairs that the tests measure."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from skimage import data

import embedshift
from embedshift.arrays import Pixels
from embedshift.sources import PairedSource, open_pairs, open_source, select
from embedshift.study import Study
from support.mean_colour import MeanColour

QUALITIES = {"q50": 50, "q10": 10}


def tiles(count: int, size: int = 32) -> list[Pixels]:
    """Different parts of a photo, uint8 `[size, size, 3]`."""
    photo: Pixels = data.astronaut()  # type: ignore[no-untyped-call]
    each = photo.shape[1] // size
    return [photo[size * (i // each) :, size * (i % each) :][:size, :size].copy() for i in range(count)]


def jpeg(image: Pixels, quality: int) -> bytes:
    """A file as OpenCV writes it."""
    done, buffer = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return bytes(buffer.tobytes())


def write_pairs(folder: Path, images: Sequence[Pixels]) -> Path:
    """`originals/*.png`, and a folder of JPEGs for each of `QUALITIES`; some stand one folder deeper."""
    for index, image in enumerate(images):
        name = f"{'deep/' if index % 3 == 0 else ''}{index:02}"
        for place in ("originals", *QUALITIES):
            (folder / place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / "originals" / f"{name}.png")
        for place, quality in QUALITIES.items():
            (folder / place / f"{name}.jpg").write_bytes(jpeg(image, quality))
    return folder


def decoded(file: Path) -> Pixels:
    """A file as Pillow decodes it."""
    return np.asarray(Image.open(file).convert("RGB"))


def run_pairs(folder: Path, out: Path, *, variants: Sequence[str] = tuple(QUALITIES), **settings: Any) -> Study:
    """A study of what `write_pairs` wrote, by an encoder without a model."""
    given = {"model": MeanColour(), "workers": 0, "shard_size": 4, **settings}
    return embedshift.run(folder / "originals", pairs=[folder / name for name in variants], out=out, **given)


def write_files(folder: Path, *names: str, content: bytes = b"") -> Path:
    """Files that hold their own names, or `content`."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content or f"{folder.name}/{name}".encode())
    return folder


def paired(originals: Any, *variants: Any, allow_missing: bool = False, limit: int | None = None) -> PairedSource:
    """Images and their variants, as a run opens them."""
    source = open_source([str(originals)])
    samples = select(source.samples, limit=limit, sample=None, seed=0)
    return open_pairs(source, samples, [str(each) for each in variants], allow_missing=allow_missing)
