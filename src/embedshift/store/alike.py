"""Images of a study, or of a study and a gallery, that are nearer than different images are expected to be."""

from dataclasses import dataclass, replace

import numpy as np

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
    """Pairs of images: positions, cosines, those after the map of shifts, and how many false ones are expected."""

    first: Positions
    second: Positions
    cosine: Values
    whitened: Values | None
    expected: Values | None

    @property
    def decisive(self) -> Values:
        return self.cosine if self.whitened is None else self.whitened


def alike(
    reader: Reader, source: Originals, *, most: int | None = None, is_between: bool = False,
    threshold: float | None = None, expected_false: float = EXPECTED_FALSE, memory: float | None = None,
) -> Alike:  # fmt: skip
    """Returns pairs with a cosine of `threshold` or more; without one, so many that `expected_false` may be false.

    Compared are all images, or the first `most` of them; with `is_between`, each of the study with each of the gallery.
    """
    vectors, whitening = source.gallery.vectors, shift_map(reader.image_rows)
    rows = np.flatnonzero(source.gallery.has_direction)[:most]
    split = int(np.searchsorted(rows, source.images)) if is_between else None
    groups = None if is_between or reader.groups is None else reader.groups[rows]
    space = mapped(vectors, whitening or normalised_float32, reader.folder, rows=rows, step=ROWS)
    tail = fit_tail(space, groups, seed=reader.info.seed, split=split)
    compared, least = space, threshold
    if least is None:
        least = EQUAL if tail is None else min(EQUAL, tail.threshold(expected_false))
    elif whitening is not None:
        compared = mapped(vectors, normalised_float32, reader.folder, rows=rows, step=ROWS)
    pairs = pairs_above(compared, least, LISTED, near_pairs(compared, least, memory), split=split)
    first, second = (rows[places] for places in pairs)
    cosines = cosines_of(vectors, first, second)
    whitened = None if whitening is None else cosines_of(space, *pairs)
    found = Alike(first, second, cosines, whitened, None)
    return found if tail is None else replace(found, expected=tail.expected(found.decisive))
