"""Images of a study, or of a study and a gallery, that are nearer than different images are expected to be."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedshift.arrays import ROWS, Values, mapped
from embedshift.statistics.duplicates import EQUAL, EXPECTED_FALSE, Positions, cosines_of, fit_tail, pairs_above
from embedshift.statistics.search_index import near_pairs
from embedshift.statistics.vectors import normalised_float32
from embedshift.statistics.whitening import shift_map
from embedshift.store.gallery import Originals
from embedshift.store.reader import Reader

# The most pairs that are listed.
LISTED = 10_000


@dataclass(frozen=True, eq=False)
class Alike:
    """Pairs of images: their positions, cosines, those after the map of shifts, and expected false pairs as near.

    `whitened` is None without a map, `expected` with too few images to say.
    """

    first: Positions
    second: Positions
    cosine: Values
    whitened: Values | None
    expected: Values | None

    @property
    def decisive(self) -> Values:
        return self.cosine if self.whitened is None else self.whitened


def alike(
    reader: Reader,
    source: Originals,
    rows: NDArray[np.int64],
    *,
    is_between: bool = False,
    threshold: float | None = None,
    expected_false: float = EXPECTED_FALSE,
    memory: float | None = None,
) -> Alike:
    """Returns pairs among the images at `rows`, ascending; or those of the study and the gallery.

    They are the pairs from a cosine of `threshold` on, else as near as `expected_false` pairs are expected to be.
    """
    vectors, whitening = source.gallery.vectors, shift_map(reader.image_rows)
    split = int(np.searchsorted(rows, source.images)) if is_between else None
    groups = None if is_between or reader.groups is None else reader.groups[rows]
    folder: Path = reader.folder
    space = mapped(vectors, whitening or normalised_float32, folder, rows=rows, step=ROWS)
    tail = fit_tail(space, groups, seed=reader.info.seed, split=split)
    compared, least = space, threshold
    if least is None:
        least = EQUAL if tail is None else min(EQUAL, tail.threshold(expected_false))
    elif whitening is not None:
        compared = mapped(vectors, normalised_float32, folder, rows=rows, step=ROWS)
    pairs = pairs_above(compared, least, LISTED, near_pairs(compared, least, memory), split=split)
    first, second = (rows[places] for places in pairs)
    cosines = cosines_of(vectors, first, second)
    whitened = None if whitening is None else cosines_of(space, *pairs)
    decisive = cosines if whitened is None else whitened
    return Alike(first, second, cosines, whitened, None if tail is None else tail.expected(decisive))
