"""`DrawnImage`: an image with its drawn views, on its way from a loader to the encoder."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from embedshift.arrays import Pixels, Values
from embedshift.augmentations.views import Canvas
from embedshift.sources import ImageRef


@dataclass(frozen=True)
class DrawnImage:
    sample: ImageRef
    pixels_hash: str | None
    views: Pixels
    seeds: list[int]
    pixels: dict[str, Values]
    seconds: dict[str, float]
    missing: tuple[int, ...] = ()
    file: Canvas | None = None
    # The views at their own sizes, if the encoder gets these.
    files: tuple[Pixels, ...] = ()
    # Parts of the decoded file, as the encoder gets them.
    parts: tuple[Pixels, ...] = ()

    @property
    def encoded(self) -> Sequence[Pixels]:
        """The original and its views, as the encoder gets them."""
        return self.files or [*self.views]

    @property
    def canvas(self) -> Canvas:
        return self.file or Canvas(self.views[0])

    def without_views(self) -> "DrawnImage":
        return replace(self, views=self.views[:0].copy())

    def without_pixels(self) -> "DrawnImage":
        return replace(self, views=self.views[:0].copy(), file=None, files=(), parts=())
