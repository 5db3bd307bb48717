"""The vectors of a study of changes: what chains are predicted from, and what copies are compared with."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedshift.arrays import Floats, GroupNumbers
from embedshift.augmentations.chains import chains_of
from embedshift.questions.chains.numbers import LEAST_REFERENCE, Fingerprints, Moments, fingerprints_of, whitened_shifts
from embedshift.statistics.summary import COSINE
from embedshift.statistics.vectors import normalised_float32
from embedshift.store.embeddings import vectors_of
from embedshift.store.reader import Reader


def measured_chains(reader: Reader) -> dict[str, tuple[str, ...]]:
    """Returns the chains of a study, each with its parts in their order."""
    described = reader.info.identity.get("augmentations", {})
    return chains_of({name: described.get(name, {}) for name in reader.augmentations})


def singles_of(reader: Reader) -> list[str]:
    """Returns the augmentations of a study that are no chains."""
    chains = measured_chains(reader)
    return [name for name in reader.augmentations if name not in chains]


@dataclass(frozen=True, eq=False)
class Reference:
    """Unit vectors of a study.

    Args:
        reader: The study.
        originals: All originals that are read, `[m, D]`.
        views: Of the first n originals, `[n, A, draws, D]`, in the order of `reader.augmentations`.
    """

    reader: Reader
    originals: Floats
    views: Floats

    @classmethod
    def of(cls, reader: Reader) -> "Reference":
        """Reads the vectors of a study.

        Raises:
            UsageError: The study stores no embeddings, or has no changes.
        """
        reader.refuse_without_vectors()
        reader.refuse_without_changes()
        return cls(reader, *map(normalised_float32, vectors_of(reader)))

    @functools.cached_property
    def there(self) -> NDArray[np.bool_]:
        """Which of the first n images have all vectors, `[n]`."""
        images = self.originals[: len(self.views)]
        return np.asarray(np.isfinite(self.views).all(axis=(1, 2, 3)) & np.isfinite(images).all(axis=1))

    @property
    def groups(self) -> GroupNumbers | None:
        """Which of these images are not independent; None = all are."""
        groups = self.reader.first_groups(len(self.views))
        return None if groups is None else groups[self.there]

    @functools.cached_property
    def apart(self) -> float:
        """Mean 1 - cos of different originals; NaN if it is not known."""
        baselines = self.reader.need("summary").filter(metric=COSINE)["baseline"].drop_nulls()
        return 1 - float(baselines[0]) if len(baselines) else np.nan

    @property
    def images(self) -> Floats:
        """The originals of these images, `[k, D]`."""
        return np.asarray(self.originals[: len(self.views)][self.there])

    def changed(self, names: Sequence[str]) -> Floats:
        """Returns the views of these images under some augmentations, `[k, C, draws, D]`."""
        places = [self.reader.augmentations.index(name) for name in names]
        return np.asarray(self.views[:, places][self.there])

    def fingerprints(self, names: Sequence[str]) -> Fingerprints:
        """Measures the fingerprints of some augmentations; refuses a study of few images."""
        self.reader.refuse_fewer(LEAST_REFERENCE)
        mean = self.changed(names).mean(axis=2)
        return fingerprints_of(names, self.images, mean, self.groups, seed=self.reader.info.seed)

    def moments(self, names: Sequence[str]) -> Moments:
        """Returns the moments of the whitened mean shifts of some augmentations."""
        shifts = whitened_shifts(self.images, self.changed(names).mean(axis=2))[1]
        return Moments.of(shifts, self.groups, seed=self.reader.info.seed)

    @property
    def singles(self) -> list[str]:
        """The augmentations that are no chains."""
        return singles_of(self.reader)
