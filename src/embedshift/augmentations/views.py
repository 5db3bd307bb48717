"""The views of one image: the `Canvas` that augmentations change, the seeds, and the drawing of a suite."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embedshift.arrays import Pixels, Values
from embedshift.augmentations.augmentation import ORIGINAL, Augmentation
from embedshift.augmentations.changes import Geometry, grid, sampled, size_of
from embedshift.augmentations.suite import Suite, load_suite
from embedshift.config import LONGEST, ApplyTo, Resize
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.registry.extras import cv2
from embedshift.sources.images import ToInput, reduced


@dataclass(frozen=True)
class Canvas:
    """The image uint8 `[H, W, 3]` that augmentations change: the encoder's input, or with `to_input` a file's."""

    image: Pixels
    to_input: ToInput | None = None

    @classmethod
    def of(cls, image: Pixels, to_input: ToInput, apply_to: ApplyTo = "input", longest: int = LONGEST) -> "Canvas":
        """Returns the canvas of a decoded image."""
        return cls(to_input(image)) if apply_to == "input" else cls(reduced(image, longest), to_input)

    @property
    def original(self) -> Pixels:
        """The encoder's input of the original, uint8 `[S, S, 3]`."""
        return self.input_of(self.image)

    def encoded(self, *, own_size: bool) -> Pixels:
        """Returns the encoder's view of the image: at its own size, or as its input."""
        return self.image if own_size else self.original

    def input_of(self, image: Pixels) -> Pixels:
        """Returns the encoder's input uint8 `[S, S, 3]` of the image or of a changed one."""
        return image if self.to_input is None else self.to_input(image)

    def draw(self, augmentation: Augmentation, seed: int) -> Pixels:
        """Draws one view, as the encoder's input uint8 `[S, S, 3]`."""
        return self.input_of(self.changed(augmentation, seed))

    def changed(self, augmentation: Augmentation, seed: int) -> Pixels:
        """Draws one view at its own size, uint8 `[H, W, 3]`."""
        if self.to_input is None:
            return augmentation.draw(self.image, seed)
        try:
            return augmentation.draw(self.image, seed, any_size=True)
        except EmbedshiftError as error:
            height, width = size_of(self.image)
            raise type(error)(f"{error} (on the file, {width} x {height} pixels)") from error

    def warp(self, augmentation: Augmentation, values: Values, seed: int) -> Values:
        """Moves values of the input's pixels as `Augmentation.warp` does."""
        if self.to_input is None:
            return augmentation.warp(self.image, values, seed)
        geometry = self._geometry(augmentation, seed)
        return np.full_like(values, np.nan) if geometry is None else geometry.move(values)

    def moved_and_hidden(self, augmentation: Augmentation, seed: int) -> tuple[float, float]:
        """Returns the RMS displacement of a view's pixels over the side, and the hidden fraction; NaN = unknown."""
        geometry = self._geometry(augmentation, seed)
        size = size_of(self.image) if self.to_input is None else self.to_input.size
        return (np.nan, np.nan) if geometry is None else (geometry.displacement(), geometry.covered(size))

    def _geometry(self, augmentation: Augmentation, seed: int) -> Geometry | None:
        """Returns the source in the original's input of each pixel of a view's input; None if unknown."""
        geometry = augmentation.geometry(self.image, seed)
        if geometry is None or self.to_input is None:
            return geometry
        return _of_input(geometry, size_of(self.image), self.to_input)


def _of_input(geometry: Geometry, original: tuple[int, int], to_input: ToInput) -> Geometry:
    """Returns the geometry between the inputs of a file of height and width `original` and its view."""
    view = original if geometry.source is None else size_of(geometry.source)
    start, step = to_input.places(*view)
    places = grid(to_input.size) * step + start  # in the view
    hidden = geometry.hidden
    if hidden is not None:
        across, down = (np.clip(np.rint(places[..., axis]).astype(int), 0, view[1 - axis] - 1) for axis in (0, 1))
        hidden = hidden[down, across]
    if geometry.source is None:
        return Geometry(None, hidden)
    with np.errstate(invalid="ignore"):  # hidden places are infinitely far
        moved = np.pad(geometry.source - grid(view), ((1, 1), (1, 1), (0, 0)), mode="reflect", reflect_type="odd")
        places = places + sampled(moved, (places + 1).astype(np.float32), cv2.BORDER_REPLICATE)
        start, step = to_input.places(*original)
        return Geometry(((places - start) / step).astype(np.float32), hidden)


def view_seed(seed: int, image_id: str, augmentation: str, draw: int) -> int:
    """Returns the seed of one view, from study seed, image, the augmentation's `seed_name` and draw."""
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
