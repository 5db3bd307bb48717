"""The steps of a run in their order: list images, load the encoder, plan, lock, measure, write tables."""

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
from embedshift.encoders import TITLES, Encoder
from embedshift.encoders.base import EncoderInfo
from embedshift.engines import Job, Progress, find_engine, find_map
from embedshift.engines.finished_shards import current_hashes, shards_to_retry
from embedshift.engines.job import loader_count
from embedshift.errors import EmbedshiftError
from embedshift.pipeline.prepare import StudyContext, prepared
from embedshift.sources import ImageRef, Shard, remember_roots
from embedshift.sources.base import storable
from embedshift.store import resume, shards
from embedshift.store.changed import changed_images, measured_pixels
from embedshift.store.copies import copies, copies_line
from embedshift.store.forked import refuse_fork
from embedshift.store.grouping import are_stored, choose
from embedshift.store.groups import FILE as GROUPS
from embedshift.store.groups import NEAR, Choice, find_groups, write_groups
from embedshift.store.info import Counts, EncoderRecord, ShardPixels, StudyInfo, read_info
from embedshift.store.lock import locked
from embedshift.store.parts import shard_checksums, shard_name, shard_pixels
from embedshift.store.reader import Reader
from embedshift.store.table_files import WrittenFiles
from embedshift.store.tables import write_tables
from embedshift.store.writer import ShardWriter

log = logging.getLogger(__name__)

VERSIONS = ("torch", "transformers", "albumentations", "opencv-python-headless", "numpy", "pillow", "polars", "pyarrow")


@dataclass(frozen=True)
class Start:
    """The state of a run before its first shard."""

    out: Path
    images: int
    done: int
    complete: bool
    skipped: Mapping[str, int]


@dataclass(frozen=True)
class Origin:
    """What a study fixed when it began: its id, the pixels of its shards, and those of shards that are lost now."""

    study_id: str
    pixels: Mapping[str, ShardPixels] = field(default_factory=dict)
    lost: Mapping[str, ShardPixels] = field(default_factory=dict)


def run_study(
    config: StudyConfig,
    out: Path,
    *,
    encoder: Encoder | None = None,
    suite: Suite | None = None,
    groups: Choice | None = None,
    retry_failed: bool = False,
    repair: bool = False,
    progress: Progress | None = None,
    on_start: Callable[[Start], None] = lambda _: None,
) -> Reader:
    """Measures every image that is not measured yet, then writes the tables."""
    refuse_fork()
    groups = config.groups if groups is None else groups
    with prepared(config, out, encoder=encoder, suite=suite) as study, locked(out):
        ids = [sample.image_id for sample in study.samples]
        if groups not in (None, NEAR):
            find_groups(groups, [storable(image_id) for image_id in ids], list)  # refused before hours of work
        remember_roots(study.source.description, [sample.location for sample in study.samples])
        stored = read_info(out) if Reader(out).exists() else None
        done = resume.resumable(out, study.identity, study.plan.config_hash, ids, repair=repair)
        origin = _origin(stored, done)
        finished = len(done) == len(study.shards) and Reader(out).is_complete()
        if retry_failed or not finished:
            for index in _shards_to_retry(study, out, done, transient=not retry_failed):
                del done[index]
        pending = [shard for shard in study.shards if shard.index not in done]
        complete = finished and not pending and not _altered_tables(out) and not _other_groups(out, groups)
        if changed := _changed_images(study, out, done, changed_images(study.shards, done)):
            log.warning(
                "%d images have changed since they were measured (first: %s); their rows describe the earlier pixels",
                len(changed), changed[0],
            )  # fmt: skip
        images_done = sum(record.images + len(record.failures) for record in done.values())
        on_start(Start(out, len(ids), images_done, complete, study.source.skipped))
        if complete:
            return Reader(out)
        files = _recorded_tables(stored)
        study_info(study, out, list(done.values()), origin, files, complete=False).write(out)
        records = _measure(study, out, done, origin, pending, progress)
        chosen, group_files = write_groups(out, choose(Reader(out), groups))
        files = replace(files, groups=chosen, files=files.files | group_files)
        study_info(study, out, records, origin, files, complete=False).write(out)
        with find_map(config.engine) as ordered_map:
            # Workers on other machines need the absolute path.
            files = write_tables(Reader(out.absolute() if config.engine == "ray" else out, ordered_map=ordered_map))
        files = replace(files, groups=chosen)
        files.files.update(shards.write_failures(out, records) | group_files)
        if copied := copies(Reader(out)):
            log.warning(copies_line(copied))
        study_info(study, out, records, origin, files, complete=True).write(out)
    return Reader(out)


def _origin(stored: StudyInfo | None, done: Mapping[int, shards.ShardRecord]) -> Origin:
    """Returns the id and pixels of the study in the folder; a new id if there is none."""
    if stored is None:  # or its study.json was deleted
        return Origin(next((record.study_id for record in done.values()), uuid.uuid4().hex))
    names = {shard_name(shards.shard_path(Path(), index)) for index in done}
    return Origin(stored.study_id, stored.pixels, {name: stored.pixels[name] for name in stored.pixels.keys() - names})


def _measure(
    study: StudyContext,
    out: Path,
    done: dict[int, shards.ShardRecord],
    origin: Origin,
    pending: Sequence[Shard],
    progress: Progress | None,
) -> list[shards.ShardRecord]:
    """Measures and writes the shards that are left; returns the records of all, in order."""
    shards.write_failures(out, list(done.values()))

    def written(record: shards.ShardRecord) -> None:
        done[record.index] = record
        if record.failures:
            shards.write_failures(out, [done[index] for index in sorted(done)])

    with ShardWriter(out, written, origin.study_id, origin.lost) as writer:
        for result in find_engine(study.config.engine)(_job(study, pending, progress)):
            writer.write(*result)
    records = [done[index] for index in sorted(done)]
    if not any(record.images for record in records):
        first = records[0].failures[0]
        images = len(study.samples)
        raise EmbedshiftError(
            f"no image could be measured: all {images} failed, first {first.image_id}: {first.reason}"
        )
    return records


def _altered_tables(out: Path) -> list[str]:
    """Returns and logs the files of tables of a finished study that are not as they were written."""
    if altered := Reader(out).altered_tables():
        log.warning("%d tables are not as they were written (first: %s): made again", len(altered), altered[0])
    return altered


def _other_groups(out: Path, groups: Choice | None) -> bool:
    """Returns whether the chosen groups are other ones than those of a finished study."""
    reader = Reader(out)
    return groups is not None and not are_stored(reader, choose(reader, groups))


def study_info(
    study: StudyContext,
    out: Path,
    records: Sequence[shards.ShardRecord],
    origin: Origin,
    written: WrittenFiles,
    *,
    complete: bool,
) -> StudyInfo:
    """Returns the content of study.json for a study, its finished shards, and the files made from them."""
    config, plan = study.config, study.plan
    seconds: Counter[str] = Counter()
    for record in records:
        seconds.update(record.seconds)
    measured = sum(record.images for record in records)
    identities = {measure.question: measure.identity() for measure in plan.measures}
    return StudyInfo(
        embedshift=importlib.metadata.version("embedshift"),
        schema_version=shards.SCHEMA_VERSION,
        complete=complete,
        config=config.to_dict(),
        config_hash=plan.config_hash,
        identity=study.identity,
        questions={question.name: identities.get(question.name, {}) for question in config.asked()},
        augmentations=plan.suite.names,
        descriptions={augmentation.name: augmentation.description for augmentation in plan.suite},
        encoder=_encoder_record(study),
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
    )


def _recorded_tables(stored: StudyInfo | None) -> WrittenFiles:
    """Returns what study.json records of the tables of an earlier run, some of which may be kept."""
    if stored is None:
        return WrittenFiles()
    kept = {name: checksum for name, checksum in stored.files.items() if name.startswith("tables/") or name == GROUPS}
    return WrittenFiles(kept, dict(stored.tables), stored.groups)


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
    )


def _shards_to_retry(
    study: StudyContext, out: Path, done: Mapping[int, shards.ShardRecord], *, transient: bool
) -> set[int]:
    """Returns the finished shards to measure again because failed images in them can now be read."""
    workers = loader_count(study.config)
    readable = shards_to_retry(study.shards, done, study.source, study.plan, workers=workers, transient=transient)
    for shard in study.shards:
        if shard.index in readable and (changed := _changed_images(study, out, done, shard.samples)):
            readable.remove(shard.index)
            log.warning(
                "shard %d keeps its rows and failures: %d of its images have changed since they were measured (first: "
                "%s); restore them, or choose another `out`",
                shard.index, len(changed), changed[0],
            )  # fmt: skip
    return readable


def _changed_images(
    study: StudyContext, out: Path, done: Mapping[int, shards.ShardRecord], samples: Sequence[ImageRef]
) -> list[str]:
    """Returns the ids of measured images whose pixels have changed since."""
    measured = measured_pixels(out, done, [storable(sample.image_id) for sample in samples])
    candidates = [sample for sample in samples if storable(sample.image_id) in measured]
    now = current_hashes(candidates, study.source, study.plan, workers=loader_count(study.config)) if candidates else {}
    return sorted(name for name, pixels in now.items() if pixels != measured[name])


def _job(study: StudyContext, pending: Sequence[Shard], progress: Progress | None) -> Job:
    return Job(
        shards=pending,
        source=study.source,
        plan=study.plan,
        spec=study.spec,
        ready=study.ready,
        progress=progress or (lambda _images: None),
    )
