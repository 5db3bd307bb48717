"""`Canvas`: the image that augmentations change, and what the encoder sees of it and of its views."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from embedshift.arrays import Pixels, Values
from embedshift.augmentations.augmentation import Augmentation
from embedshift.augmentations.changes import Geometry, grid, sampled, size_of
from embedshift.config import LONGEST, ApplyTo
from embedshift.errors import EmbedshiftError

if TYPE_CHECKING:
    from embedshift.sources.to_input import ToInput


@dataclass(frozen=True)
class Canvas:
    """The image that augmentations change.

    Args:
        image: The encoder's square input, or the image of the file, uint8 `[H, W, 3]`.
        to_input: How the image of a file and its views become the input; None = the image is the input.
    """

    image: Pixels
    to_input: "ToInput | None" = None

    @classmethod
    def of(cls, image: Pixels, to_input: "ToInput", apply_to: ApplyTo = "input", longest: int = LONGEST) -> "Canvas":
        """Returns what augmentations change of a decoded image."""
        if apply_to == "input":
            return cls(to_input(image))
        from embedshift.sources.to_input import reduced  # with all sources, which a list of augmentations does not need

        return cls(reduced(image, longest), to_input)

    @property
    def original(self) -> Pixels:
        """The encoder's input without a change, uint8 `[S, S, 3]`."""
        return self.input_of(self.image)

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
        """Returns the displacement of a view's pixels divided by the side, and the fraction that hides the original.

        The first is a root mean square; both are NaN where they are not known.
        """
        geometry = self._geometry(augmentation, seed)
        size = size_of(self.image) if self.to_input is None else self.to_input.size
        return (np.nan, np.nan) if geometry is None else (geometry.displacement(), geometry.covered(size))

    def _geometry(self, augmentation: Augmentation, seed: int) -> Geometry | None:
        """Returns where each pixel of a view's input comes from in the original's input; None if it is not known."""
        geometry = augmentation.geometry(self.image, seed)
        if geometry is None or self.to_input is None:
            return geometry
        return _of_input(geometry, size_of(self.image), self.to_input)


def _of_input(geometry: Geometry, original: tuple[int, int], to_input: "ToInput") -> Geometry:
    """Returns the geometry of the inputs that are made of a file of height and width `original`, and of its view."""
    view = original if geometry.source is None else size_of(geometry.source)
    start, step = to_input.places(*view)
    places = grid(to_input.size) * step + start  # in the view
    hidden = geometry.hidden
    if hidden is not None:
        across, down = (np.clip(np.rint(places[..., axis]).astype(int), 0, view[1 - axis] - 1) for axis in (0, 1))
        hidden = hidden[down, across]
    if geometry.source is None:
        return Geometry(None, hidden)
    with np.errstate(invalid="ignore"):  # what is not shown is infinitely far
        moved = np.pad(geometry.source - grid(view), ((1, 1), (1, 1), (0, 0)), mode="reflect", reflect_type="odd")
        places = places + sampled(moved, (places + 1).astype(np.float32), cv2.BORDER_REPLICATE)
        start, step = to_input.places(*original)
        return Geometry(((places - start) / step).astype(np.float32), hidden)
