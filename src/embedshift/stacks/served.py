"""The vectors of a stack: those of an encoder, of a function, or of a table of another program."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from PIL import Image

from embedshift.arrays import Floats
from embedshift.encoders import Encoder, load_encoder
from embedshift.encoders.images import ImageEncoder, image_encoder
from embedshift.encoders.module import ModuleEncoder
from embedshift.errors import EmbedshiftError, UsageError, cause, reason
from embedshift.pipeline.plan import encoder_preprocess, to_input
from embedshift.sources.images import decode
from embedshift.sources.vectors import VectorSet
from embedshift.stacks.encodings import Inputs
from embedshift.stacks.recipe import recipe_of


def knows_steps(encoder: object) -> TypeGuard[ModuleEncoder]:
    """Whether the steps of an encoder are known, so that a cause can be named against it."""
    return isinstance(encoder, ModuleEncoder) and encoder.precision == "float32"


def reference_vectors(encoder: ModuleEncoder, files: Sequence[bytes]) -> Floats:
    inputs, recipe = Inputs(files), recipe_of(encoder, None)
    with torch.inference_mode(), encoder.tower.block_hooks.silent():
        pixels = (torch.from_numpy(inputs(recipe, index))[None] for index in range(len(files)))
        vectors = [encoder.embed(encoder.module, image.to(encoder.device)).clone() for image in pixels]
    return np.asarray(torch.cat(vectors).float().cpu().numpy())


# Images that an encoder of images gets at once.
BATCH = 8
AnyEncoder = Encoder | ImageEncoder


def open_encoder(given: Any) -> AnyEncoder | None:
    if isinstance(given, str | os.PathLike):
        text = os.fspath(given)
        return None if Path(text).suffix.lower() in (".parquet", ".npy") else load_encoder(text)
    if isinstance(given, Encoder | ImageEncoder):
        return given
    return image_encoder(given, name=getattr(given, "__name__", "function"), version="") if callable(given) else None


def vectors_of(
    given: Any, encoder: AnyEncoder | None, files: Mapping[str, bytes], ids: Sequence[str] | None,
    columns: Mapping[str, str] | None = None,
) -> Floats:  # fmt: skip
    names = [*files]
    if encoder is None:
        name, vectors = _from_table(given, names, ids, columns)
    else:
        name, parts = encoder.name, [names[start : start + BATCH] for start in range(0, len(names), BATCH)]
        vectors = np.concatenate([_encoded(encoder, part, [files[image] for image in part]) for part in parts])
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    for position in np.flatnonzero(~np.isfinite(norms) | (norms == 0))[:1]:
        raise EmbedshiftError(f"{name}: the vector of {names[position]!r} is zero or no number; leave the image out")
    return vectors


@contextlib.contextmanager
def naming(image_id: str) -> Iterator[None]:
    try:
        yield
    except (OSError, EmbedshiftError) as error:
        raise EmbedshiftError(f"{image_id}: {cause(error)}; leave it out") from error


def _encoded(encoder: AnyEncoder, names: Sequence[str], files: Sequence[bytes]) -> Floats:
    try:
        if isinstance(encoder, ImageEncoder):
            given = encoder.encode_images([Image.fromarray(decode(file)) for file in files])
        elif knows_steps(encoder):
            given = reference_vectors(encoder, files)
        else:
            square = to_input(encoder_preprocess(encoder))
            given = encoder(np.stack([square(decode(file)) for file in files])).embedding
        vectors = np.array(given, np.float32)  # an encoder may fill one array again and again
    except (Exception, SystemExit) as error:  # a function that ends the process must not pass a gate
        for name, file in zip(names, files, strict=True):
            with naming(name):
                decode(file)
        raise EmbedshiftError(f"{encoder.name} cannot encode {', '.join(names)} ({reason(error):.300})") from error
    if vectors.ndim != 2 or len(vectors) != len(names):
        raise EmbedshiftError(f"{encoder.name} gives {vectors.shape} for {len(names)} images; it must give [N, D]")
    return vectors


def _from_table(
    given: Any, names: Sequence[str], ids: Sequence[str] | None, columns: Mapping[str, str] | None
) -> tuple[str, Floats]:
    vectors = VectorSet.open(given, ids=names if ids is None else ids, columns=columns or {})
    grid = vectors.grid(vectors.is_original)
    if missing := [name for name in names if name not in {*grid.ids}]:
        words = f"{len(missing)} of {len(names)} images have no vector (first: {missing[0]!r})"
        raise UsageError(f"{vectors.name}: {words}; its ids are such as {grid.ids[0]!r}")
    return vectors.name, grid.read(grid.places(names))[:, 0]
