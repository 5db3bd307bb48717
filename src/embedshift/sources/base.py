"""The contract of a source, and what every source shares: selection and shards."""

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from embedshift.errors import EmbedshiftError


@dataclass(frozen=True, order=True)
class Sample:
    """One image of a source, not read yet.

    Args:
        image_id: Its name in the study.
        location: What the source needs to find its bytes; a path in a folder.
        caption: Its text, where the source has one.
        problem: Why it is known already that it cannot be read.
    """

    image_id: str
    location: str
    caption: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Shard:
    """A fixed slice of a study's samples: the unit of work, of resume, and of a cluster's tasks."""

    index: int
    samples: tuple[Sample, ...]


class Source(Protocol):
    """A collection of images.

    `samples` are in the order of the study. `skipped` counts what was passed over, by ending. `description` goes into
    study.json, so that a report can find the pictures again.
    """

    @property
    def samples(self) -> Sequence[Sample]: ...  # noqa: D102

    @property
    def skipped(self) -> Mapping[str, int]: ...  # noqa: D102

    @property
    def description(self) -> Mapping[str, str]: ...  # noqa: D102

    def read(self, sample: Sample) -> bytes:
        """The bytes of one image; raises OSError or EmbedshiftError with the reason."""
        ...


def select(samples: Sequence[Sample], *, limit: int | None, sample: int | None, seed: int) -> list[Sample]:
    """The samples of a study: sorted by `image_id`, the first `limit`, and of these `sample` drawn by the seed.

    Raises:
        EmbedshiftError: when two samples have one id; both are named.

    Example:
        >>> [s.image_id for s in select([Sample("b", "2"), Sample("a", "1")], limit=1, sample=None, seed=0)]
        ['a']
    """
    ordered = sorted(samples, key=lambda s: (s.image_id, s.location))
    for first, second in itertools.pairwise(ordered):
        if first.image_id == second.image_id:
            raise EmbedshiftError(
                f"two images have the id {first.image_id!r}: {first.location} and {second.location}; rename one",
                exit_code=2,
            )
    chosen = ordered[:limit]
    if sample is not None and sample < len(chosen):
        chosen = sorted(random.Random(seed).sample(chosen, sample))
    return chosen


def split(samples: Sequence[Sample], size: int) -> list[Shard]:
    """Cuts the samples into shards of `size`.

    Example:
        >>> [len(s.samples) for s in split([Sample(str(i), "") for i in range(5)], 2)]
        [2, 2, 1]
    """
    slices = (tuple(samples[start : start + size]) for start in range(0, len(samples), size))
    return [Shard(index, part) for index, part in enumerate(slices)]
