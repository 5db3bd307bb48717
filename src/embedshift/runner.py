"""The steps of a run in their order: list images, load the encoder, plan, lock, measure, write tables."""

import contextlib
import functools
import importlib.metadata
import logging
import platform
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from embedshift.augmentations import Suite
from embedshift.config import StudyConfig
from embedshift.config.processes import one_blas_thread
from embedshift.encoders import TITLES, Encoder
from embedshift.encoders.base import EncoderInfo
from embedshift.encoders.images import ImageEncoder
from embedshift.engines import Job, Progress, Start, find_engine
from embedshift.engines.finished_shards import changed_among, shards_to_retry
from embedshift.errors import EmbedshiftError, foreign_code
from embedshift.pipeline.prepare import StudyContext, prepared
from embedshift.sources import Shard, VectorSource, remember_roots
from embedshift.sources.base import storable
from embedshift.sources.order import SHUFFLED, WINDOW
from embedshift.store import resume, shards
from embedshift.store.files import locked
from embedshift.store.forked import refuse_fork
from embedshift.store.grouping import INDEPENDENT, are_stored, choose, copies, copies_line
from embedshift.store.groups import FILE as GROUPS
from embedshift.store.groups import NEAR, Choice, find_groups
from embedshift.store.info import SCHEMA_VERSION, Answer, Counts, EncoderRecord, ShardPixels, StudyInfo, Until
from embedshift.store.listing import shard_checksums, shard_pixels
from embedshift.store.reader import Reader
from embedshift.store.resume import changed_images, measured_pixels
from embedshift.store.shards import ShardWriter, shard_name
from embedshift.store.table import WrittenFiles
from embedshift.store.tables import write_tables
from embedshift.store.target_width import TargetWidth, asked, discard

log = logging.getLogger(__name__)

VERSIONS = ("torch", "transformers", "albumentations", "opencv-python-headless", "numpy", "pillow", "polars", "pyarrow")


@dataclass(frozen=True)
class Origin:
    """What a study fixed when it began: its id, pixels of its shards and of those that are lost now, and answers."""

    study_id: str
    pixels: Mapping[str, ShardPixels] = field(default_factory=dict)
    lost: Mapping[str, ShardPixels] = field(default_factory=dict)
    answers: Mapping[str, Answer] = field(default_factory=dict)


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
    groups = config.groups if groups is None else groups
    with one_blas_thread(), prepared(config, out, encoder=encoder, suite=suite, source=source) as study, locked(out):
        ids = [sample.image_id for sample in study.samples]
        if groups not in (None, NEAR):  # refused before hours of work
            find_groups(groups, [storable(image_id) for image_id in ids], list)
        remember_roots(study.source.description, [sample.location for sample in study.samples])
        reader = Reader(out)
        stored = reader.info if reader.exists() else None
        done = resume.resumable(
            reader.listing, study.identity, study.plan.config_hash, ids, repair=repair, answers=study.spec.answers
        )
        origin = _origin(stored, done)
        until, goes_on = asked(stored, config.until, done, lambda: _other_groups(reader, groups))
        finished = stored is not None and len(done) == stored.shard_count and reader.is_complete() and not goes_on
        measured = functools.partial(measured_pixels, out, done)
        if retry_failed or not finished:
            for index in (retried := shards_to_retry(study, measured, done, transient=not retry_failed)):
                del done[index]
            finished = finished and not retried
        until = stored.until if finished and stored is not None else until
        pending = [] if finished else [shard for shard in study.shards if shard.index not in done]
        complete = finished and not _altered_tables(reader) and not _other_groups(reader, groups)
        _warn_of_changes(*changed_among(study, measured, changed_images(study.shards, done)))
        images_done = sum(record.images + len(record.failures) for record in done.values())
        start = Start(out, len(ids), images_done, complete, study.source.skipped)
        if complete:
            on_start(start)
            return reader
        files = _recorded_tables(stored)
        study_info(study, out, list(done.values()), origin, files, until).write(out)
        target = None if finished or until is None else _target_width(study, reader.now(), until, groups)
        on_start(start if target is None else replace(start, note=target.note))
        records = _measure(study, out, done, origin, pending, progress, target)
        until = until if target is None else target.until
        chosen = choose(reader.now(), groups) or INDEPENDENT
        study_info(study, out, records, origin, files, until).write(out)
        reader = reader.now()
        files = write_tables(replace(reader, grouped=chosen))
        files = replace(files, files=files.files | shards.write_failures(out, records))
        _warn_of_copies(reader)
        study_info(study, out, records, origin, files, until, complete=True).write(out)
    return reader.now()


def _warn_of_changes(changed: Sequence[str], unreadable: Sequence[str]) -> None:
    for names, words in ((changed, "have changed since they were measured"), (unreadable, "cannot be read any more")):
        if names:
            log.warning("%d images %s (first: %s); their rows describe the earlier pixels", len(names), words, names[0])


def _warn_of_copies(reader: Reader) -> None:
    if copied := copies(reader):
        log.warning(copies_line(copied))


def _origin(stored: StudyInfo | None, done: Mapping[int, shards.ShardRecord]) -> Origin:
    """Returns the id and pixels of the study in the folder; a new id if there is none."""
    if stored is None:  # or its study.json was deleted
        return Origin(next((record.study_id for record in done.values()), uuid.uuid4().hex))
    names = {shard_name(shards.shard_path(Path(), index)) for index in done}
    lost = {name: stored.pixels[name] for name in stored.pixels.keys() - names}
    return Origin(stored.study_id, stored.pixels, lost, stored.answers)


def _target_width(study: StudyContext, reader: Reader, until: Until, groups: Choice | None) -> TargetWidth:
    if study.order != SHUFFLED and len({study.source.block(sample) for sample in study.samples}) > WINDOW:
        log.warning("`until` %g: the first images are of few archives: they must be like all others", until.width)
    all_groups = choose(reader, groups, [storable(sample.image_id) for sample in study.samples])
    return TargetWidth(reader.folder, until, study.plan.suite.names, study.config.seed, len(study.shards), all_groups)


def _measure(
    study: StudyContext,
    out: Path,
    done: dict[int, shards.ShardRecord],
    origin: Origin,
    pending: Sequence[Shard],
    progress: Progress | None,
    target: TargetWidth | None,
) -> list[shards.ShardRecord]:
    """Measures and writes the shards that are left, or as many as are enough; returns the records of all, in order."""
    shards.write_failures(out, list(done.values()))
    if target is not None:
        for record in done.values():
            target.add(record)
        pending = [] if target.until.shards else pending

    def written(record: shards.ShardRecord) -> None:
        done[record.index] = record
        if target is not None:
            target.add(record)
        if record.failures:
            shards.write_failures(out, [done[index] for index in sorted(done)])

    measured = contextlib.closing(find_engine(study.engine)(_job(study, pending, progress)))
    with ShardWriter(out, written, origin.study_id, origin.lost) as writer, measured as results:
        for result in results:
            writer.write(*result)
            if target is not None:
                writer.wait()
                if target.until.shards:
                    break
    if target is not None:
        done = discard(out, target.until, done)
    records = [done[index] for index in sorted(done)]
    if not any(record.images for record in records):
        first = records[0].failures[0]
        images = len(study.samples)
        raise EmbedshiftError(
            f"no image could be measured: all {images} failed, first {first.image_id}: {first.reason}"
        )
    return records


def _altered_tables(reader: Reader) -> list[str]:
    if altered := reader.altered_tables():
        log.warning("%d tables are not as they were written (first: %s): made again", len(altered), altered[0])
    return altered


def _other_groups(reader: Reader, groups: Choice | None) -> bool:
    return groups is not None and not are_stored(reader, choose(reader, groups))


def study_info(
    study: StudyContext,
    out: Path,
    records: Sequence[shards.ShardRecord],
    origin: Origin,
    written: WrittenFiles,
    until: Until | None,
    *,
    complete: bool = False,
) -> StudyInfo:
    config, plan = study.config, study.plan
    seconds: Counter[str] = Counter()
    for record in records:
        seconds.update(record.seconds)
    measured = sum(record.images for record in records)
    identities = {measure.question: measure.identity() for measure in plan.measures}
    return StudyInfo(
        embedshift=importlib.metadata.version("embedshift"),
        schema_version=SCHEMA_VERSION,
        complete=complete,
        config=config.to_dict(),
        config_hash=plan.config_hash,
        identity=study.identity,
        questions={question.name: identities.get(question.name, {}) for question in config.questions()},
        augmentations=plan.suite.names,
        descriptions={augmentation.name: augmentation.description for augmentation in plan.suite},
        encoder=_encoder_record(study),
        answers=origin.answers or study.spec.answers,
        source=dict(study.source.description),
        pairs={name: asdict(variants) for name, variants in study.pairs.items()},
        order=study.order,
        counts=Counts(
            images=len(study.samples),
            measured=measured,
            failed=sum(len(record.failures) for record in records),
            rows=measured * (1 + plan.views),
            skipped=dict(study.source.skipped),
        ),
        seconds={stage: round(value, 3) for stage, value in seconds.items()},
        versions={name: importlib.metadata.version(name) for name in VERSIONS} | {"python": platform.python_version()},
        study_id=origin.study_id,
        pixels={**origin.pixels, **shard_pixels(records)},
        files=shard_checksums(shards.shard_path(out, record.index) for record in records) | written.files,
        tables=written.tables,
        groups=written.groups,
        rows=written.rows,
        until=until,
    )


def _recorded_tables(stored: StudyInfo | None) -> WrittenFiles:
    if stored is None:
        return WrittenFiles()
    kept = {name: checksum for name, checksum in stored.files.items() if name.startswith("tables/") or name == GROUPS}
    return WrittenFiles(kept, dict(stored.tables), stored.groups, stored.rows)


def _encoder_record(study: StudyContext) -> EncoderRecord:
    encoder, plan = study.ready.encoder, study.plan
    info = EncoderInfo.of(encoder)
    return EncoderRecord(
        name=encoder.name,
        title=TITLES.get(encoder.name),
        revision=info.revision,
        weights_hash=encoder.weights_hash,
        embedding=info.embedding_name,
        embedding_definition=info.embedding_definition,
        dim=encoder.dim,
        grid=encoder.grid,
        size=encoder.size,
        mean=encoder.mean,
        std=encoder.std,
        shortest=plan.preprocess.shortest,
        resample=plan.preprocess.resample,
        precision=info.precision or "float32",
        attention_kind=info.attention_kind,
        kernels=study.spec.kernels,
        takes_images=isinstance(encoder, ImageEncoder),
        configuration=info.configuration or {},
        instability=study.spec.instability,
    )


def _job(study: StudyContext, pending: Sequence[Shard], progress: Progress | None) -> Job:
    return Job(
        shards=pending,
        source=study.source,
        plan=study.plan,
        spec=study.spec,
        ready=study.ready,
        progress=progress or (lambda _images: None),
    )
