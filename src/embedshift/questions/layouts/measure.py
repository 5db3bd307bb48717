"""Encodes tiles of the original, and mirror images, beside the views."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from embedshift.arrays import Pixels, Values
from embedshift.config import VECTORS, Json
from embedshift.errors import UsageError
from embedshift.pipeline.measure import Column, Measure, StudySwitches
from embedshift.questions.layouts import Switches
from embedshift.statistics.tiles import TILES, tiles_of
from embedshift.statistics.vector_layouts import MIRRORED, TILE_VECTORS

if TYPE_CHECKING:
    from embedshift.encoders.base import EncoderOutput
    from embedshift.pipeline.drawn import DrawnImage


class MEASURE(Measure):
    def __init__(self, asked: StudySwitches) -> None:
        super().__init__(asked)
        chosen = asked.config.of(Switches)
        self.tiles, self.mirrored = chosen.tiles or 0, chosen.mirrored
        self.dim = 0  # until the encoder is loaded
        if chosen.tiles is not None and self.tiles not in TILES and asked.config.augmentations != VECTORS:
            raise UsageError(f"`tiles` {self.tiles}: choose {' or '.join(map(str, TILES))}")
        if asked.config.store == "metrics":
            raise UsageError("`tiles` and `mirrored` are vectors, which `store` metrics does not keep: leave one out")

    def identity(self) -> Json:
        return {"tiles": self.tiles, "mirrored": self.mirrored}

    def columns(self, probe: "EncoderOutput | None") -> Sequence[Column]:
        tiles = [Column(TILE_VECTORS, self.tiles * self.dim, of="original")] if self.tiles else []
        return [*tiles, *([Column(MIRRORED, self.dim, of="all")] if self.mirrored else [])]

    def parts(self, image: Pixels) -> Sequence[Pixels]:
        return [*tiles_of(image, self.tiles)] if self.tiles else ()

    def beside(self, image: "DrawnImage") -> Sequence[Pixels]:
        mirrors = (view[:, ::-1] for view in image.encoded) if self.mirrored else ()
        return [*image.parts, *mirrors]

    def count_beside(self, views: int) -> int:
        return self.tiles + (views if self.mirrored else 0)

    def of_beside(self, image: "DrawnImage", output: "EncoderOutput") -> Mapping[str, Values]:
        tiles, mirrors = output[: self.tiles], output[self.tiles :].without(image.missing)
        found: dict[str, Values] = {TILE_VECTORS: np.asarray(tiles.embedding)} if self.tiles else {}
        return found | ({MIRRORED: np.asarray(mirrors.embedding)} if self.mirrored else {})
