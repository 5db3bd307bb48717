"""A lock: images and the vectors that an encoder gave for them, in one file that a later stack is compared with."""

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from embedshift.arrays import Floats
from embedshift.config import Json, refuse_code
from embedshift.config.safe_files import read_file, write_file
from embedshift.encoders.base import EncoderInfo
from embedshift.errors import EmbedshiftError, UsageError, cause
from embedshift.registry import CODE
from embedshift.stacks.distance import distance_between
from embedshift.stacks.images import read_images
from embedshift.stacks.served import open_encoder, vectors_of
from embedshift.store.identity import ENCODER, allowed, as_answer, distance

ENDING, VERSION, LARGEST = ".lock", 1, 2**26
# Images of a lock; of more, so many are drawn.
LOCKED = 32
# Images that are encoded once more, in another order and batch.
REPEATED = 3
PACKAGES = ("embedshift", "torch", "transformers", "numpy", "pillow", "opencv-python-headless")


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
    about["versions"] = {name: importlib.metadata.version(name) for name in PACKAGES} | {"system": platform.platform()}
    margins = distance_between(vectors, vectors).margins
    tensors: dict[str, Any] = {
        "images": np.frombuffer(b"".join(files.values()), np.uint8),
        "vectors": vectors,
        "margins": margins,
    }
    data = save(tensors, {"embedshift": json.dumps(about | {"sha256": _digest(tensors, about)})})
    if len(data) > LARGEST:
        raise UsageError(
            f"{out}: would take {len(data) / 1e6:.0f} MB, more than {LARGEST / 1e6:.0f}; give smaller images"
        )
    write_file(out, data)
    return about


def read_lock(path: str | os.PathLike[str]) -> tuple[dict[str, bytes], Floats, Json]:
    """Returns files by id, their vectors and what else it says; UsageError if it is no lock, changed or names code."""
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
        words = cause(error) if isinstance(error, OSError | EmbedshiftError) else "not a lock of `embedshift lock`"
        raise UsageError(f"{path}: {words}") from error


def _digest(tensors: Mapping[str, Any], about: Json) -> str:
    return hashlib.sha256(save(dict(tensors)) + json.dumps(about, sort_keys=True).encode()).hexdigest()
