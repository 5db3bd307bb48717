"""The views of one image: their seeds, and how a suite draws them."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from embedshift.arrays import Pixels
from embedshift.augmentations.augmentation import ORIGINAL
from embedshift.augmentations.canvas import Canvas
from embedshift.augmentations.suite import Suite, load_suite
from embedshift.config import LONGEST, ApplyTo, Resize
from embedshift.errors import UsageError
from embedshift.sources.to_input import ToInput


def view_seed(seed: int, image_id: str, augmentation: str, draw: int) -> int:
    """Returns the seed of one view; it depends only on the study's seed, the image, the augmentation and the draw."""
    text = f"{seed}|{image_id}|{augmentation}|{draw}".encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big")


def draw_views(
    original: Pixels | Canvas,
    image_id: str,
    suite: Suite,
    *,
    seed: int = 0,
    draws: int = 1,
    before_each: Callable[[], object] = lambda: None,
    into: Pixels | None = None,
    files: list[Pixels] | None = None,
) -> tuple[Pixels, list[int]]:
    """Draws all views of one image, the original first, then draw by draw; `files` gets each at its own size."""
    canvas = original if isinstance(original, Canvas) else Canvas(original)
    original = canvas.original
    keys = [(name, draw) for draw in range(draws) for name in suite.names]
    seeds = [view_seed(seed, image_id, suite[name].seed_name, draw) for name, draw in keys]
    views = np.empty((1 + len(keys), *original.shape), np.uint8) if into is None else into
    views[0] = original
    if files is not None:
        files.append(canvas.image)
    for view, (name, _), number in zip(views[1:], keys, seeds, strict=True):
        before_each()
        changed = canvas.changed(suite[name], number)
        view[:] = canvas.input_of(changed)
        if files is not None:
            files.append(changed)
    return views, [0, *seeds]


def make_views(
    image: Pixels,
    *,
    image_id: str,
    seed: int = 0,
    size: int = 224,
    augmentations: str | Path | Mapping[str, Any] = "paper",
    resize: Resize = "squash",
    shortest: int | None = None,
    resample: int = 3,
    apply_to: ApplyTo = "input",
    longest: int = LONGEST,
    draw: int = 0,
    **choice: Any,
) -> dict[str, Pixels]:
    """Draws the views of one image exactly as a study with the same seed does.

    Args:
        image: The image, RGB uint8 `[H, W, 3]`.
        image_id: Its name in the study; the seed of every view depends on it.
        seed: The study's seed.
        size: The encoder's input size S, in pixels.
        augmentations: The name of a registered suite, a YAML file of pipelines, or a dict of transforms or callables.
        resize: "squash" or "crop".
        shortest: For "crop": the shortest side before the crop, as in `encoder.shortest` of study.json; None = `size`.
        resample: For "crop": Pillow's number of the filter, as in `encoder.resample` of study.json.
        apply_to: "input" changes the image at the encoder's size, "file" at its own.
        longest: For "file": larger images are first reduced to this longest side, in pixels.
        draw: The number of the draw, from 0.
        **choice: For a suite of families: `families`, `levels`, `frost_textures`; see `load_suite`.

    Returns:
        Name → uint8 `[S, S, 3]`, "original" first.

    Raises:
        UsageError: The image has another dtype or shape, or a name is unknown.
        EmbedshiftError: An augmentation fails.

    Example:
        >>> views = make_views(np.zeros((40, 60, 3), np.uint8), image_id="a.jpg", size=32)
        >>> list(views)[:2], views["noise"].shape
        (['original', 'noise'], (32, 32, 3))
    """
    if not (isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3):
        raise UsageError("make_views: give the image as RGB uint8 [H, W, 3]")
    suite = load_suite(augmentations, **choice)
    canvas = Canvas.of(image, ToInput(size, resize, shortest, resample), apply_to, longest)
    seeds = {augmentation.name: view_seed(seed, image_id, augmentation.seed_name, draw) for augmentation in suite}
    return {ORIGINAL: canvas.original} | {name: canvas.draw(suite[name], number) for name, number in seeds.items()}
