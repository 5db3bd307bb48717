"""`Reader`: a study on disk, for all steps after the shards. It imports no torch."""

import dataclasses
import functools
import logging
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from embedshift.arrays import Values
from embedshift.errors import EmbedshiftError, UsageError, reason
from embedshift.registry import METRICS, Question, questions
from embedshift.sources import Roots, moved, own_places
from embedshift.statistics.clusters import has_pairs
from embedshift.statistics.families import MeasuredFamily, families_of
from embedshift.statistics.groups import Groups, Over, here
from embedshift.store.forked import refuse_fork
from embedshift.store.groups import groups_of, scan
from embedshift.store.info import FILE, StudyInfo, read_info
from embedshift.store.labels import read_table, table_path
from embedshift.store.naming import ImageNaming
from embedshift.store.parts import Part, parts
from embedshift.store.shards import ShardRecord, shard_sums, write_failures
from embedshift.store.table import tables_of

log = logging.getLogger(__name__)

C = TypeVar("C")


@dataclass(frozen=True, eq=False)
class Reader:
    """The results of a run, read from its folder."""

    folder: Path
    choices: Sequence[Any] = ()
    made: Mapping[str, pl.DataFrame] = dataclasses.field(default_factory=dict)
    pictures: bool = True
    images_root: Path | None = None
    over: Over = here

    def __post_init__(self) -> None:
        refuse_fork()

    def exists(self) -> bool:
        """Returns whether a run was ever started in this folder."""
        return (self.folder / FILE).is_file()

    def is_complete(self) -> bool:
        """Returns whether the run has finished and all its tables exist."""
        if not self.exists() or not self.info.complete:
            return False
        return all(table_path(self.folder, name).is_file() for name in self.table_names)

    @functools.cached_property
    def info(self) -> StudyInfo:
        """The content of study.json; UsageError if there is none."""
        return read_info(self.folder)

    @functools.cached_property
    def naming(self) -> ImageNaming:
        """Names of images and places in outputs for others."""
        return ImageNaming(self.info.source, self.pictures)

    @functools.cached_property
    def source(self) -> Mapping[str, Any]:
        """Description of where its images are read again."""
        return self.info.source if self.images_root is None else moved(self.info.source, self.images_root)

    @functools.cached_property
    def roots(self) -> Roots:
        """The places below which its images may be read."""
        return Roots.known(*([] if self.images_root is None else [self.images_root]))

    @functools.cached_property
    def unseen(self) -> str:
        """Why none of its images may be read, in one line; "" = they may."""
        try:
            for place in own_places(self.source):
                self.roots.check(place)
        except EmbedshiftError:
            return "made without images: this user has not run embedshift on the image folders named in this study"
        return ""

    @property
    def shows_images(self) -> bool:
        """Whether figures and reports show images: they may, and their place is known."""
        return self.pictures and not self.unseen

    @property
    def augmentations(self) -> list[str]:
        """Names of the augmentations, in the order of the suite."""
        return list(self.info.augmentations)

    @functools.cached_property
    def families(self) -> tuple[MeasuredFamily, ...]:
        """The families whose views it measured; empty if augmentations have no strength."""
        return families_of(self.info.identity["augmentations"])

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics that are installed here, in the order of their columns."""
        return [name for name in self.info.metrics if name in METRICS]

    @functools.cached_property
    def questions(self) -> list[Question]:
        """The questions that the study asked, in order; one that is not installed is logged and left out."""
        known = {each.name: each for each in questions()}
        for name in self.info.questions:
            if name not in known:
                log.warning("the question %r is not installed here: its tables, figures and metrics are left out", name)
        return [known[name] for name in self.info.questions if name in known]

    def identity_of(self, question: str) -> Mapping[str, Any]:
        """Returns what a question added to the study's identity; empty if it was not asked."""
        return self.info.questions.get(question, {})

    def choice(self, kind: type[C]) -> C:
        """Returns the choices of one kind; its defaults if there are none."""
        return next((each for each in self.choices if isinstance(each, kind)), None) or kind()

    @property
    def has_pairs(self) -> bool:
        """Whether tables, trees and figures of all pairs of augmentations are made; if not, it logs this once."""
        return has_pairs(self.augmentations)

    @functools.cached_property
    def table_names(self) -> tuple[str, ...]:
        """Names of the tables that this study has: those of the core, then those of its questions."""
        core = ("summary", "ranking", "differences") if self.has_pairs else ("summary", "ranking")
        return (*core, *(table.name for table in tables_of(self.questions) if table.is_available(self)))

    def table(self, name: str) -> pl.DataFrame | None:
        """Returns a table by its name; None if the study does not have it."""
        if name in self.made:
            return self.made[name]
        there = name in self.table_names and table_path(self.folder, name).is_file()
        return read_table(self.folder, name, self.image_ids) if there else None

    def rows(self) -> pl.LazyFrame:
        """All rows as a lazy frame: one row per image, view and draw, in the order of the shards."""
        return scan([part.path for part in self._measured()])

    @functools.cached_property
    def groups(self) -> Groups:
        """All rows in groups of images, as they are at the first access."""
        return groups_of(self._measured(), self.over)

    def _measured(self) -> list[Part]:
        """Returns the shards; UsageError if there is none."""
        if found := self.parts():
            return found
        raise UsageError(f"{self.folder}: no image is measured yet; run the study first")

    def parts(self) -> list[Part]:
        """The study's current shards, in order, each checked for damage."""
        return parts(self.folder, self.info)

    @functools.cached_property
    def records(self) -> list[ShardRecord]:
        """The records of the finished shards."""
        return [part.record for part in self.parts()]

    def shard_sums(self, name: str) -> Iterator[dict[str, Values]]:
        """Yields the sums under a name, shard by shard."""
        return shard_sums((part.path for part in self.parts()), name)

    def sums(self, name: str) -> dict[str, Values]:
        """Returns the sums of all shards together; empty if there are none."""
        total: dict[str, Values] = {}
        for part in self.shard_sums(name):
            total |= {key: array + total[key] if key in total else array for key, array in part.items()}
        return total

    def image_ids(self, *, with_attention: bool = False) -> set[str]:
        """Returns the ids of all measured images, or of those whose attention maps are stored."""
        if not self.parts():
            return set()
        rows = self.rows().filter(pl.col("attention").is_not_null()) if with_attention else self.rows()
        return set(rows.select(pl.col("image_id").unique()).collect()["image_id"])

    def sample_ids(self, count: int, *, with_attention: bool = False) -> list[str]:
        """Returns `count` image ids drawn by the study's seed, sorted."""
        few = self.image_ids(with_attention=True) if with_attention and not self.info.has_vectors else set()
        return draw_ids(few or self.image_ids(), count, self.info.seed)

    def failures(self) -> pl.DataFrame:
        """One row per image that was not measured: `image_id, stage, reason, transient`."""
        path = self.folder / "failures.parquet"
        if not path.is_file():  # a run that was killed at once
            write_failures(self.folder, self.records)
        try:
            return pl.read_parquet(path, glob=False)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise UsageError(
                f"{path}: cannot be read ({reason(error):.200}); delete it and make the report again"
            ) from error

    def is_reported(self) -> bool:
        """Returns whether `report.html` exists and is not older than the measurements."""
        file = self.folder / "report.html"
        return file.is_file() and file.stat().st_mtime_ns >= (self.folder / FILE).stat().st_mtime_ns


def draw_ids(image_ids: Iterable[str], count: int, seed: int) -> list[str]:
    """Returns `count` of the ids, drawn by the seed, sorted; all if there are fewer."""
    ids = sorted(image_ids)
    return sorted(random.Random(seed).sample(ids, min(count, len(ids))))
