"""The contract of a source, and what every source shares: selection and shards."""

import itertools
import json
import os
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from embedshift.errors import UsageError

CAPTION_ENDINGS = (".json", ".txt")
ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True, order=True)
class Sample:
    """One image of a source, not read yet.

    Args:
        image_id: Its name in the study.
        location: Where it lies, for people; in a folder its path.
        caption: Its text, where the source has one.
        problem: Why it is known already that it cannot be read.
        archive: The archive that holds it; empty in a folder.
        position: Its place in the archive, in bytes or rows, which decides its order there.
        length: Its bytes in the archive.
    """

    image_id: str
    location: str
    caption: str | None = None
    problem: str | None = None
    archive: str = ""
    position: int = 0
    length: int = 0


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
    def description(self) -> Mapping[str, Any]: ...  # noqa: D102

    def read(self, sample: Sample) -> bytes:
        """The bytes of one image; raises OSError or EmbedshiftError with the reason."""
        ...


def select(samples: Sequence[Sample], *, limit: int | None, sample: int | None, seed: int) -> list[Sample]:
    """The samples of a study: the first `limit` in order, and of these `sample` drawn by the seed.

    The order is that of the ids, and in archives that of each archive.

    Raises:
        EmbedshiftError: when two samples have one id; both are named.

    Example:
        >>> [s.image_id for s in select([Sample("b", "2"), Sample("a", "1")], limit=1, sample=None, seed=0)]
        ['a']
    """
    ordered = sorted(samples, key=lambda s: (s.archive, s.position, s.image_id, s.location))
    seen: dict[str, Sample] = {}
    for one in ordered:
        other = seen.setdefault(one.image_id, one)
        if other is not one:
            raise UsageError(
                f"two images have the id {one.image_id!r}: {other.location} and {one.location}; rename one",
            )
    chosen = ordered[:limit]
    if sample is not None and sample < len(chosen):
        drawn = random.Random(seed).sample(range(len(chosen)), sample)
        chosen = [chosen[index] for index in sorted(drawn)]
    return chosen


def split(samples: Sequence[Sample], size: int) -> list[Shard]:
    """Cuts the samples into shards of `size`; a shard does not run across archives.

    Example:
        >>> [len(s.samples) for s in split([Sample(str(i), "") for i in range(5)], 2)]
        [2, 2, 1]
    """
    slices: list[tuple[Sample, ...]] = []
    for _, group in itertools.groupby(samples, key=lambda s: s.archive):
        part = tuple(group)
        slices += [part[start : start + size] for start in range(0, len(part), size)]
    return [Shard(index, part) for index, part in enumerate(slices)]


def captions_of(texts: Mapping[str, tuple[str, bytes]]) -> dict[str, str]:
    """Captions beside pictures, as img2dataset writes them: a `.txt`, or the `caption` of a `.json`; a text wins.

    Args:
        texts: Name of the file → its stem and its content.

    Returns:
        Stem → caption.

    Example:
        >>> captions_of({"a.json": ("a", b'{"caption": "a cat"}'), "b.txt": ("b", b"a dog")})
        {'a': 'a cat', 'b': 'a dog'}
    """
    found: dict[str, str] = {}
    for name, (stem, content) in sorted(texts.items()):  # .json comes before .txt
        text = content.decode("utf-8", "replace")
        if name.lower().endswith(".json"):
            try:
                caption = json.loads(text).get("caption")
            except (ValueError, AttributeError):
                continue
            if isinstance(caption, str):
                # JSON may hold halves of a character, which are no text to Parquet.
                found[stem] = caption.encode("utf-8", "replace").decode().strip()
        else:
            found[stem] = text.strip()
    return found


def count_ending(skipped: Counter[str], name: str) -> None:
    """Counts a file that is passed over, by its ending."""
    skipped[os.path.splitext(name)[1].lower() or "no ending"] += 1


def passed_over(skipped: Mapping[str, int]) -> str:
    """What a line says of files that were passed over; nothing where there are none.

    Example:
        >>> passed_over({".txt": 2, ".md": 1})
        ' (passed over by their endings: 1 .md, 2 .txt)'
    """
    counted = ", ".join(f"{count} {ending}" for ending, count in sorted(skipped.items()))
    return f" (passed over by their endings: {counted})" if counted else ""
