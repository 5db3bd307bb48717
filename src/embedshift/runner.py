"""The steps of a run: list images, load the encoder, plan, lock, measure, write tables."""

import contextlib
import functools
import importlib.metadata
import logging
import platform
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from embedshift.augmentations import Suite
from embedshift.config import StudyConfig
from embedshift.config.processes import one_blas_thread
from embedshift.encoders import Encoder
from embedshift.engines import Progress, Start, State, find_engine
from embedshift.engines.finished_shards import changed_among, shards_to_retry
from embedshift.errors import EmbedshiftError, foreign_code
from embedshift.pipeline.prepare import StudyContext, prepared
from embedshift.pipeline.shard import no_progress
from embedshift.registry.extras import versions
from embedshift.report.numbers import count
from embedshift.sources import Shard, VectorSource, remember_roots
from embedshift.sources.base import SHUFFLED, WINDOW, storable
from embedshift.store.files import locked
from embedshift.store.forked import refuse_fork
from embedshift.store.grouping import INDEPENDENT, are_stored, choose, copies, copies_line
from embedshift.store.groups import FILE as GROUPS
from embedshift.store.groups import NEAR, Choice, find_groups
from embedshift.store.info import SCHEMA_VERSION, Counts, ShardPixels, StudyInfo, Until
from embedshift.store.listing import shard_pixels
from embedshift.store.reader import Reader
from embedshift.store.resume import changed_images, measured_pixels, resumable
from embedshift.store.shards import ShardFile, ShardRecord, ShardWriter, shard_name, shard_path, write_failures
from embedshift.store.table import WrittenFiles
from embedshift.store.tables import write_tables
from embedshift.store.target_width import TargetWidth, asked, discard

log = logging.getLogger(__name__)

VERSIONS = ("torch", "transformers", "albumentations", "opencv-python-headless", "numpy", "pillow", "polars", "pyarrow")


@foreign_code()
def run_study(
    config: StudyConfig,
    out: Path,
    *,
    encoder: Encoder | None = None,
    suite: Suite | None = None,
    source: VectorSource | None = None,
    groups: Choice | None = None,
    retry_failed: bool = False,
    repair: bool = False,
    progress: Progress | None = None,
    on_start: Callable[[Start], None] = lambda _: None,
) -> Reader:
    refuse_fork()
    with one_blas_thread(), prepared(config, out, encoder=encoder, suite=suite, source=source) as study, locked(out):
        run = _Run.of(study, out, config.groups if groups is None else groups, repair=repair)
        start = run.begin(retry_failed=retry_failed)
        on_start(start)
        if start.state != "complete":
            run.measure(progress or no_progress)
            run.write_tables()
    return run.reader.now()


@dataclass
class _Run:
    study: StudyContext
    reader: Reader
    groups: Choice | None
    stored: StudyInfo | None
    done: dict[int, ShardRecord]
    study_id: str
    # Pixels of measured shards whose files are lost.
    lost: Mapping[str, ShardPixels]
    files: WrittenFiles
    pending: Sequence[Shard] = ()
    until: Until | None = None
    target: TargetWidth | None = None
    # Failures so far, and those in failures.parquet.
    failed: int = 0
    listed: int = 0

    @classmethod
    def of(cls, study: StudyContext, out: Path, groups: Choice | None, *, repair: bool) -> "_Run":
        ids = [sample.image_id for sample in study.samples]
        if groups not in (None, NEAR):  # before hours of work
            find_groups(groups, [storable(image_id) for image_id in ids], list)
        remember_roots(study.plan.source.description, [sample.location for sample in study.samples])
        reader, plan = Reader(out), study.plan
        stored = reader.info if reader.exists() else None
        done = resumable(
            reader.listing, study.identity, plan.config_hash, ids, repair=repair, answers=plan.spec.answers
        )
        if stored is None:  # or its study.json was deleted
            study_id = next((record.study_id for record in done.values()), uuid.uuid4().hex)
            return cls(study, reader, groups, None, done, study_id, {}, WrittenFiles())
        names = {shard_name(shard_path(Path(), index)) for index in done}
        lost = {name: pixels for name, pixels in stored.pixels.items() if name not in names}
        kept = {name: digest for name, digest in stored.files.items() if name.startswith("tables/") or name == GROUPS}
        files = WrittenFiles(kept, dict(stored.tables), stored.groups, stored.rows)
        return cls(study, reader, groups, stored, done, stored.study_id, lost, files)

    def begin(self, *, retry_failed: bool) -> Start:
        """Finds the remaining work; if there is any, writes study.json as that of an unfinished study."""
        study, stored, done = self.study, self.stored, self.done
        self.until, goes_on = asked(stored, study.plan.config.until, done, self._has_other_groups)
        measured = not goes_on and stored is not None and len(done) == stored.shard_count
        measured = measured and self.reader.is_complete()
        pixels = functools.partial(measured_pixels, self.reader.folder, done)
        if retry_failed or not measured:
            for index in (retried := shards_to_retry(study, pixels, done, transient=not retry_failed)):
                del done[index]
            measured = measured and not retried
        state: State = "resumed" if stored or done else "new"
        if stored is None or not measured:
            self.pending = [shard for shard in study.shards if shard.index not in done]
        else:
            self.until = stored.until
            if not self._has_altered_tables() and not self._has_other_groups():
                state = "complete"
        ends = "changed since the run", "could not be read again"
        for names, end in zip(changed_among(study, pixels, changed_images(study.shards, done)), ends, strict=True):
            if names:
                words = "%s %s (first: %s); their rows describe the earlier pixels"
                log.warning(words, count(len(names), "image"), end, names[0])
        if state != "complete":
            self.write_info()
            if self.until is not None and not measured:
                self.target = self._target_width(self.until)
        images = sum(record.images + len(record.failures) for record in done.values())
        note = str if self.target is None else self.target.note
        return Start(self.reader.folder, len(study.samples), images, state, study.plan.source.skipped, note)

    def _target_width(self, until: Until) -> TargetWidth:
        study, plan = self.study, self.study.plan
        if study.order != SHUFFLED and len({plan.source.block(sample) for sample in study.samples}) > WINDOW:
            log.warning("`until` %g: the first images are of few archives: they must be like all others", until.width)
        groups = choose(self.reader.now(), self.groups, [storable(sample.image_id) for sample in study.samples])
        return TargetWidth(self.reader.folder, until, plan.suite.names, plan.config.seed, len(study.shards), groups)

    def measure(self, progress: Progress) -> None:
        plan, target = self.study.plan, self.target
        self._write_failures()
        if target is not None:
            for record in self.done.values():
                target.add(record)
        pending = self.pending if target is None or not target.until.shards else ()
        engine = find_engine(plan)(pending, plan, self.study.ready, progress)
        with (
            ShardWriter(self.reader.folder, self._add, self.study_id, self.lost) as writer,
            contextlib.closing(engine) as results,
        ):
            for table, record in results:
                writer.write(table, record)
                if target is not None:
                    writer.wait()
                    if target.until.shards:
                        break
        if target is not None:
            self.until, self.done = target.until, discard(self.reader.folder, target.until, self.done)
        records = self._records()
        if not any(record.images for record in records):
            images, first = len(self.study.samples), records[0].failures[0]
            words = f"all {images} failed, first {first.image_id}: {first.reason}"
            raise EmbedshiftError(f"no image could be measured: {words}")

    def _add(self, part: ShardFile) -> None:
        self.reader.listing.add(part, len(self.study.shards))
        self.done[part.record.index] = record = part.record
        if self.target is not None:
            self.target.add(record)
        self.failed += len(record.failures)
        if self.failed > 1.1 * self.listed:  # not after every shard, since it takes longer each time
            self._write_failures()

    def _write_failures(self) -> dict[str, str]:
        records = self._records()
        self.failed = self.listed = sum(len(record.failures) for record in records)
        return write_failures(self.reader.folder, records)

    def _records(self) -> list[ShardRecord]:
        return [self.done[index] for index in sorted(self.done)]

    def write_tables(self) -> None:
        chosen = choose(self.reader.now(), self.groups) or INDEPENDENT
        self.write_info()
        self.reader = self.reader.now()
        grouped = replace(self.reader, grouped=chosen)
        made = write_tables(grouped)
        self.files = replace(made, files=made.files | self._write_failures())
        if copied := copies(grouped):
            log.warning(copies_line(copied))
        self.write_info(complete=True)

    def _has_altered_tables(self) -> bool:
        if altered := self.reader.altered_tables():
            log.warning("%d tables are not as they were written (first: %s): made again", len(altered), altered[0])
        return bool(altered)

    def _has_other_groups(self) -> bool:
        """Returns whether the existing tables were made with other groups."""
        return self.groups is not None and not are_stored(self.reader, choose(self.reader, self.groups))

    def write_info(self, *, complete: bool = False) -> None:
        study, plan, records = self.study, self.study.plan, self._records()
        seconds: Counter[str] = Counter()
        for record in records:
            seconds.update(record.seconds)
        measured = sum(record.images for record in records)
        identities = {measure.question: measure.identity() for measure in plan.measures}
        parts = [self.reader.listing.known[record.index] for record in records]
        StudyInfo(
            embedshift=importlib.metadata.version("embedshift"),
            schema_version=SCHEMA_VERSION,
            complete=complete,
            config=plan.config.to_dict(),
            config_hash=plan.config_hash,
            identity=study.identity,
            questions={question.name: identities.get(question.name, {}) for question in plan.config.questions()},
            augmentations=plan.suite.names,
            descriptions={augmentation.name: augmentation.description for augmentation in plan.suite},
            encoder=plan.encoder,
            answers=plan.spec.answers if self.stored is None or not self.stored.answers else self.stored.answers,
            source=dict(plan.source.description),
            variants={name: asdict(variants) for name, variants in study.pairs.items()},
            order=study.order,
            counts=Counts(
                images=len(study.samples),
                measured=measured,
                failed=sum(len(record.failures) for record in records),
                rows=measured * (1 + plan.views),
                skipped=dict(plan.source.skipped),
            ),
            seconds={stage: round(value, 3) for stage, value in seconds.items()},
            versions=versions(VERSIONS) | {"python": platform.python_version()},
            study_id=self.study_id,
            pixels={**(self.stored.pixels if self.stored else {}), **shard_pixels(records)},
            files={shard_name(part.path): part.checksum for part in parts} | self.files.files,
            tables=self.files.tables,
            groups=self.files.groups,
            rows=self.files.rows,
            until=self.until,
        ).write(self.reader.folder)
