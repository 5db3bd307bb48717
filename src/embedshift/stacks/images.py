"""The images of a comparison, the user's or the default ones; and a lock: a file of images and their vectors."""

import hashlib
import io
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image
from safetensors.numpy import load, save

from embedshift.arrays import Floats
from embedshift.config import Json, as_paths, refuse_code
from embedshift.config.safe_files import read_file, write_file
from embedshift.encoders.base import EncoderInfo
from embedshift.errors import EmbedshiftError, UsageError, cause
from embedshift.registry import CODE
from embedshift.registry.extras import cv2, versions
from embedshift.sources import open_images
from embedshift.sources.base import storable
from embedshift.sources.demo import demo_photos
from embedshift.stacks.result import distance_between
from embedshift.stacks.served import naming, open_encoder, vectors_of
from embedshift.store.info import ENCODER, allowed, as_answer, distance

Box = tuple[int, int, int, int]

ENDING, VERSION, LARGEST = ".lock", 1, 2**26
# Maximum images of a lock, drawn by a seed.
LOCKED = 32
# Images that are encoded again, in another order and batch.
REPEATED = 3
PACKAGES = ("embedshift", "torch", "transformers", "numpy", "pillow", "opencv-python-headless")


def read_images(images: Any, most: int) -> dict[str, bytes]:
    if not images:
        return probe_images()
    source, samples = open_images(as_paths(images), limit=None, sample=most, seed=0)
    files = dict[str, bytes]()
    for sample in samples:
        with naming(sample.image_id):
            files[storable(sample.image_id)] = source.read(sample)
    return files


def probe_images() -> dict[str, bytes]:
    """Returns the demo's photographs as files, and eight files made of them; two of 224 pixels need no resizing."""
    photos, turned = demo_photos(), Image.Exif()
    turned[ExifTags.Base.Orientation] = 6

    def made(
        name: str, box: Box, size: tuple[int, int], form: str = "JPEG", mode: str = "RGB", **settings: Any
    ) -> bytes:
        with Image.open(photos[name]) as photo:
            image = photo.convert("RGB").resize(size, Image.Resampling.LANCZOS, box).convert(mode)
        if mode == "RGBA":
            image.putalpha(Image.linear_gradient("L").resize(size))
        image.save(file := io.BytesIO(), form, quality=92, **settings)
        return file.getvalue()

    control = made("flower.jpg", (200, 20, 600, 420), (224, 224), "PNG")
    deep = np.array(Image.open(io.BytesIO(control)), np.uint16)[:180, :, ::-1] * 256
    return {name: path.read_bytes() for name, path in photos.items()} | {
        "turned.jpg": made("chelsea.png", (20, 0, 420, 300), (320, 240), exif=turned),
        "grey.jpg": made("rocket.jpg", (100, 0, 500, 400), (300, 300), mode="L"),
        "alpha.png": made("coffee.png", (40, 20, 520, 380), (320, 240), "PNG", "RGBA"),
        "cmyk.jpg": made("china.jpg", (60, 60, 560, 360), (320, 192), mode="CMYK"),
        # Its low bytes are rounded or cut off by a decoder.
        "sixteen.png": cv2.imencode(".png", deep + np.arange(224, dtype=np.uint16)[:, None])[1].tobytes(),
        "odd.jpg": made("motorcycle_left.png", (50, 40, 651, 453), (301, 207)),
        "control-1.png": made("astronaut.png", (100, 0, 400, 300), (224, 224), "PNG"),
        "control-2.png": control,
    }


def varied(files: Sequence[bytes], most: int) -> list[int]:
    first: dict[Any, int] = {}
    for position, data in enumerate(files):
        with Image.open(io.BytesIO(data)) as image:
            coding = str(image.tile[0][3]) if image.tile else ""
            kind = image.format, image.mode, coding, image.getexif().get(ExifTags.Base.Orientation)
        first.setdefault(kind, position)
    return sorted([*dict.fromkeys([*first.values(), *range(len(files))])][:most])


def write_lock(images: Any, model: Any, out: Path) -> Json:
    if out.suffix != ENDING:
        raise UsageError(f"{out}: the name of a lock ends with {ENDING}")
    files, encoder = read_images(images, LOCKED), open_encoder(model)
    if encoder is None:
        raise UsageError(f"{model}: a lock is made with an encoder, not of vectors")
    vectors, info = vectors_of(model, encoder, files, None), vars(EncoderInfo.of(encoder))  # type: ignore[arg-type]
    again = dict(reversed([*files.items()][:REPEATED]))
    repeated = as_answer(vectors_of(model, encoder, again, None)[::-1])
    if (moved := distance(as_answer(vectors[:REPEATED]), repeated)) > allowed(ENCODER, str(info["precision"])):
        words = "its vector of an image depends on the pass, or on the other images of its batch"
        raise EmbedshiftError(f"{encoder.name}: {words} (relative distance {moved:.2g}); such an encoder has no lock")
    about: Json = {"version": VERSION, "ids": [*files], "lengths": [len(data) for data in files.values()]}
    # No file chooses code that runs.
    about["model"] = model if isinstance(model, str) and not model.startswith(CODE) else None
    about["name"], about["weights_hash"] = encoder.name, getattr(encoder, "weights_hash", None)
    about["recipe"] = {name: str(value) for name, value in info.items() if value is not None}
    about["versions"] = versions(PACKAGES) | {"system": platform.platform()}
    contents, margins = np.frombuffer(b"".join(files.values()), np.uint8), distance_between(vectors, vectors).margins
    tensors: Json = {"images": contents, "vectors": vectors, "margins": margins}
    data = save(tensors, {"embedshift": json.dumps(about | {"sha256": _digest(tensors, about)})})
    if len(data) > LARGEST:
        raise UsageError(
            f"{out}: would take {len(data) / 1e6:.0f} MB, more than {LARGEST / 1e6:.0f}; give smaller images"
        )
    write_file(out, data)
    return about


def read_lock(path: str | os.PathLike[str]) -> tuple[dict[str, bytes], Floats, Json]:
    """Returns files by id, their vectors and other fields; UsageError if it is no lock, changed or names code."""
    try:
        data = read_file(path, LARGEST)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        about, tensors = json.loads(header["__metadata__"]["embedshift"]), load(data)
        if about["version"] != VERSION or about.pop("sha256") != _digest(tensors, about):
            raise UsageError(f"{path}: was changed, is damaged or of another version; write it again")
        refuse_code(about["model"], Path(path))
        parts = np.split(tensors["images"], np.cumsum(about["lengths"])[:-1])
        files = {str(name): part.tobytes() for name, part in zip(about["ids"], parts, strict=True)}
        return files, tensors["vectors"].astype(np.float32).reshape(len(files), -1), about
    except UsageError:
        raise
    except Exception as error:
        words = cause(error) if isinstance(error, OSError | EmbedshiftError) else "not a lock of `embedshift parity`"
        raise UsageError(f"{path}: {words}") from error


def _digest(tensors: Mapping[str, Any], about: Json) -> str:
    return hashlib.sha256(save(dict(tensors)) + json.dumps(about, sort_keys=True).encode()).hexdigest()
