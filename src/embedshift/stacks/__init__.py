"""Differences between two stacks: the distance of their vectors, and the steps that explain it."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embedshift.arrays import Floats
from embedshift.config import Json
from embedshift.encoders import load_encoder
from embedshift.encoders.trust import no_remote_code
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.sources.vectors import listed_ids
from embedshift.stacks.images import ENDING, REPEATED, read_images, read_lock, varied
from embedshift.stacks.result import ROUNDING, Parity, distance_between
from embedshift.stacks.search import find_causes
from embedshift.stacks.served import knows_steps, open_encoder, vectors_of
from embedshift.store import info

log = logging.getLogger(__name__)
# Maximum images of a comparison, drawn by a seed, and maximum images for the search for causes.
COMPARED, SEARCHED = 1_000, 16


def parity(
    reference: Any, served: Any, images: Any = None, *, tolerance: float = 0.01,
    ids: Sequence[str] | str | Path | None = None, columns: Mapping[str, str] | None = None, causes: bool = True,
) -> Parity:  # fmt: skip
    """Compares two stacks' vectors of the same images, and names the steps in which the stacks differ.

    Args:
        reference: An encoder as in `run`, or a `.lock` file of `embedshift parity`, which has its own images.
        served: The same; a function of PIL images; or vectors of the images: a Parquet file or frame with `image_id`
            and `vector`, or an npy file or array in the order of the images' sorted ids.
        images: As in `run`; None = photographs and files that tell steps apart (extra `offline`).
        tolerance: The largest relative shift that passes, below 1 (as far as another image).
        ids: The image of each row of an array, or a text file with one id a line.
        columns: Names of columns of a table, such as `{"id": "sku", "vector": "emb"}`.
        causes: Whether causes are looked for, which takes minutes.

    Returns:
        A `Parity`: `passed`, `sentence`, `table()`, `figure()`.

    Raises:
        UsageError: A name, table or lock cannot be read, or vectors of images are missing.
        EmbedshiftError: An image cannot be read or encoded.

    Example:
        >>> small = lambda images: [[*image.resize((2, 2)).tobytes()] for image in images]
        >>> other = lambda images: [[*image.resize((2, 2), 0).tobytes()] for image in images]
        >>> parity(small, other).passed
        False
    """
    if not isinstance(tolerance, int | float) or not 0 <= tolerance < 1:
        raise UsageError(f"`tolerance` {tolerance}: give a number from 0 to below 1, the distance of another image")
    ids = listed_ids(ids)
    about, own, explained, backwards, notes = None, None, None, False, list[str]()
    if isinstance(reference, str | os.PathLike) and Path(reference).suffix == ENDING:
        if images:
            raise UsageError(f"{reference}: a lock has its own images; leave `images` out")
        files, first, about = read_lock(reference)
    else:
        log.info("loading %s", _name(reference, None))
        files, own = read_images(images, COMPARED), open_encoder(reference)
        log.info("encoding %d images by %s", len(files), _name(reference, own))
        first = vectors_of(reference, own, files, ids, columns)
    log.info("loading %s", _name(served, None))
    encoder: Any = open_encoder(served)
    log.info("encoding %d images by %s", len(files), _name(served, encoder))
    second = vectors_of(served, encoder, files, ids, columns)
    distance = distance_between(first, second)
    if causes and not distance.mean <= ROUNDING:
        if about is not None and not knows_steps(encoder):
            own = _encoder_of_lock(about, notes, files, first)
        backwards = not knows_steps(own)
        known, target = (encoder, first) if backwards else (own, second)
        if knows_steps(known):
            log.info("relative shift %.2g; looking for the cause, which takes minutes", distance.relative_shift)
            contents = [*files.values()]
            rows = varied(contents, SEARCHED)
            explained = find_causes(known, [contents[row] for row in rows], target[rows])
        elif not notes:
            notes.append("No cause is looked for: that takes an encoder of transformers, open_clip or timm.")
    names, locked = (_name(reference, own), _name(served, encoder)), about is not None
    return Parity(*names, tuple(files), distance, tolerance, explained, backwards, locked, tuple(notes))


def _name(given: Any, encoder: Any) -> str:
    return os.fspath(given) if isinstance(given, str | os.PathLike) else getattr(encoder, "name", "the table")


def _encoder_of_lock(about: Json, notes: list[str], files: Mapping[str, bytes], vectors: Floats) -> Any:
    """Loads the encoder of a lock if its weights are here; else adds a note."""
    try:
        with no_remote_code(local=True):  # no file chooses what is downloaded
            encoder = None if about["model"] is None else load_encoder(about["model"])
        if encoder is not None and encoder.weights_hash == about["weights_hash"]:
            some = dict([*files.items()][:REPEATED])
            answers = (vectors[:REPEATED], vectors_of(about["model"], encoder, some, None))
            moved = info.distance(*map(info.as_answer, answers))
            if moved <= max(info.ROUNDING.values()):
                return encoder
        notes.append("No cause is looked for: the encoder of the lock is not here, or has other weights or settings.")
    except EmbedshiftError as error:
        notes.append(f"No cause is looked for, since the encoder of the lock is not here: {error}.")
