"""Perceptual hashes as encoders: their bits as ±1, so that the cosine is 1 − 2 × Hamming distance / bits."""

import importlib
import importlib.metadata
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from embedshift.arrays import Floats
from embedshift.encoders.base import Encoder
from embedshift.encoders.images import SIZE, ViewEncoder
from embedshift.encoders.libraries import library
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.registry import unknown_name

# Functions of ImageHash, of 64 bits each.
OF_IMAGEHASH = ("phash", "dhash", "whash")
PDQ = "pdq"


def load_hash(name: str, *, size: int | None = None, **_settings: Any) -> Encoder:
    """Loads "hash:phash", "hash:dhash", "hash:whash" (ImageHash) or "hash:pdq" (pdqhash, 256 bits)."""
    if name not in (*OF_IMAGEHASH, PDQ):
        raise UsageError(f"hash: {unknown_name('hash', name, (*OF_IMAGEHASH, PDQ))}")
    package, bits = ("pdqhash", _pdq()) if name == PDQ else ("ImageHash", _of_imagehash(name))

    def encode(images: Sequence[Image.Image]) -> Floats:
        return np.array([np.where(bits(image), 1, -1) for image in images], np.float32)

    version = f"{package} {importlib.metadata.version(package)}"
    made: Any = SimpleNamespace(name=f"hash:{name}", version=version, encode_images=encode)
    return ViewEncoder(made, size or SIZE)


def _of_imagehash(function: str) -> Callable[[Image.Image], Any]:
    made = getattr(library("imagehash", "hash"), function)
    return lambda image: made(image).hash.ravel()


def _pdq() -> Callable[[Image.Image], Any]:
    try:
        compute = importlib.import_module("pdqhash").compute
    except ImportError as error:
        raise EmbedshiftError("hash:pdq needs the package pdqhash, which is compiled: pip install pdqhash") from error
    return lambda image: np.asarray(compute(np.asarray(image.convert("RGB")))[0], bool)
