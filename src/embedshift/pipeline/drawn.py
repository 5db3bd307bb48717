"""`DrawnImage`: an image with its drawn views, on its way from a loader to the encoder."""

from dataclasses import dataclass, replace

from embedshift.arrays import Pixels, Values
from embedshift.sources import Sample


@dataclass(frozen=True)
class DrawnImage:
    """One image on its way to the encoder.

    Args:
        sample: The image.
        pixels_hash: Hash of its decoded pixels.
        views: The original at the encoder's size, then its views draw by draw, `[1 + A * draws, S, S, 3]`.
        seeds: Seeds of the views.
        pixels: Pixel metrics of the views, by name.
        seconds: Seconds per stage.
        missing: Places of missing views, where the original stands in.
    """

    sample: Sample
    pixels_hash: str
    views: Pixels
    seeds: list[int]
    pixels: dict[str, Values]
    seconds: dict[str, float]
    missing: tuple[int, ...] = ()

    def without_views(self) -> "DrawnImage":
        """Returns the image without its pixels."""
        return replace(self, views=self.views[:0].copy())
