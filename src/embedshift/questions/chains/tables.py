"""The table `chains`: measured chains of changes against the sums of the shifts of their parts."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from embedshift.arrays import Floats, Values
from embedshift.questions.chains.numbers import NO_NUMBER
from embedshift.questions.chains.reference import Reference, measured_chains
from embedshift.questions.chains.sums import difference, direction, distances, found_first, predicted, ratio
from embedshift.statistics.intervals import LEAST_IMAGES
from embedshift.statistics.summary import COSINE
from embedshift.store.gallery import originals
from embedshift.store.reader import Reader
from embedshift.store.table import Rules, Table

ENDS = ("", "_low", "_high")
SCHEMA = pl.Schema(
    {"chain": str, "parts": str, "n": int}
    | dict.fromkeys(("relative_shift", "relative_shift_low", "relative_shift_high", "predicted"), float)
    | dict.fromkeys(("ratio", "ratio_low", "ratio_high", "cosine", "cosine_ceiling"), float)
    | dict.fromkeys(("agreement", "agreement_low", "agreement_high", "recall", "recall_predicted"), float)
    | dict.fromkeys(("order_effect", "order_effect_low", "order_effect_high"), float)
)


class Sums:
    """What the sums of the shifts of single changes say of chains, in the images of a study."""

    def __init__(self, reader: Reader) -> None:
        self.reference, self.gallery = Reference.of(reader), originals(reader).gallery
        self.right = np.flatnonzero(self.reference.there)

    def measured(self, name: str) -> tuple[Values, Values]:
        """Returns 1 - cos of each image under an augmentation, and how often its views find it, `[k]` each."""
        return self._seen(self.reference.changed([name])[:, 0])

    def expected(self, parts: Sequence[str]) -> tuple[Values, Values]:
        """Returns the same of the vectors that the shifts of some augmentations predict."""
        return self._seen(predicted(self.reference.images, self.reference.changed(parts)))

    def _seen(self, views: Floats) -> tuple[Values, Values]:
        return distances(self.reference.images, views), found_first(views, self.right, self.gallery)

    def rows(self, chains: Mapping[str, Sequence[str]]) -> Iterator[tuple[Any, ...]]:
        """Yields a row of the table for each measured chain."""
        reader, groups, apart = self.reference.reader, self.reference.groups, self.reference.apart
        summary = reader.need("summary").filter(metric=COSINE).rows_by_key("augmentation", named=True, unique=True)
        names = list(dict.fromkeys([*chains, *itertools.chain(*chains.values())]))
        moments, seed = self.reference.moments(names), reader.info.seed
        reverse = {(*parts,): name for name, parts in chains.items()}
        every = {name: self.measured(name) for name in chains}
        for name, parts in chains.items():
            (measured, recall), (expected, recall_expected) = every[name], self.expected(parts)
            found = direction(moments, names.index(name), [names.index(part) for part in parts])
            other, order = reverse.get((*parts[::-1],)), NO_NUMBER
            if other not in (None, name):
                order = difference(measured, every[other][0], groups, seed)
            shift = [summary[name][f"relative_shift{end}"] for end in ENDS]
            numbers = (*ratio(measured, expected, groups, seed), found.cosine, found.ceiling, *found.agreement)
            recalls = float(recall.mean()), float(recall_expected.mean())
            yield (
                name, ", ".join(parts), len(measured), *shift, float(expected.mean()) / apart, *numbers, *recalls,
                *(each / apart for each in order),
            )  # fmt: skip


def chains(reader: Reader) -> pl.DataFrame:
    measured = measured_chains(reader)
    if not measured or not reader.info.has_vectors or reader.info.group_count < LEAST_IMAGES:
        return pl.DataFrame(schema=SCHEMA)
    sums = Sums(reader)
    if not np.isfinite(sums.reference.apart) or not len(sums.right):
        return pl.DataFrame(schema=SCHEMA)
    return pl.DataFrame([*sums.rows(measured)], SCHEMA, orient="row").fill_nan(None)


RULES = Rules(
    keys=("chain",),
    columns={"relative_shift": ("relative_shift_low", "relative_shift_high"), "ratio": ("ratio_low", "ratio_high")},
    subject="chain",
)
TABLES: tuple[Table[Reader], ...] = (
    Table(
        "chains",
        chains,
        reads=("summary",),
        is_available=lambda reader: measured_chains(reader) and reader.info.has_vectors,
        requires="chains of its augmentations: `chains`",
        doc="Measured chains of changes against the sums of the shifts of their parts.",
        rules=RULES,
    ),
)
