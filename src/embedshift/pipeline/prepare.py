"""Prepares a study before its first shard: lists its images, loads its encoder, makes its plan and its identity."""

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from embedshift.augmentations import Suite, Variant, load_suite, with_purified
from embedshift.augmentations.chains import with_chains
from embedshift.augmentations.variant import check_purifiers
from embedshift.config import SUITE_SETTINGS, Json, Precision, StudyConfig
from embedshift.encoders import Encoder, check_name
from embedshift.encoders.images import ImageEncoder
from embedshift.encoders.spec import EncoderSpec
from embedshift.errors import UsageError
from embedshift.pipeline.identity import study_identity, with_answers
from embedshift.pipeline.measure import Measure
from embedshift.pipeline.plan import Plan, encoder_preprocess, make_measures
from embedshift.pipeline.ready import ReadyEncoder, ready
from embedshift.registry import import_own
from embedshift.registry.extras import need_encode
from embedshift.sources import (
    ImageRef,
    Inspection,
    PairedSource,
    Shard,
    Source,
    VectorSource,
    inspect,
    named_variants,
    open_images,
    open_pairs,
    shuffle,
    split,
)
from embedshift.sources.base import hash_of
from embedshift.sources.pairs import views_file_of
from embedshift.sources.views_file import ViewsFile, folder_of
from embedshift.store.info import EncoderRecord, StudyInfo, identity_hash, read_info

log = logging.getLogger(__name__)

# Bytes of the views of one image, which a loader holds three times at hand-over; bytes of the rows of a shard.
MOST_BYTES = 2**30


@dataclass(frozen=True, kw_only=True)
class StudyContext:
    """A prepared study: its images, its plan, and this process's encoder."""

    shards: Sequence[Shard]
    order: str
    plan: Plan
    ready: ReadyEncoder
    identity: Mapping[str, Any]
    pairs: Mapping[str, Inspection] = field(default_factory=dict)

    @property
    def samples(self) -> list[ImageRef]:
        return [sample for shard in self.shards for sample in shard.samples]


@contextlib.contextmanager
def prepared(
    config: StudyConfig,
    out: Path | None,
    *,
    encoder: Encoder | None = None,
    suite: Suite | None = None,
    source: VectorSource | None = None,
) -> Iterator[StudyContext]:
    if source is None:
        need_encode("measuring images")
    config = _with_views_file(config)
    import_own(config.metrics)
    suite = with_chains(suite or find_suite(config), config.chains, config.seed)
    if encoder is None:
        check_name(config.model)
    opened, samples, order = list_images(config, out, source)
    views = 1 + len(suite.names) * config.draws  # logged before the encoder is loaded, which takes seconds
    loading = "" if encoder is not None else f"; loading the encoder {config.model}"
    log.info("images: %s, views: %s per image%s", f"{len(samples):,}", f"{views:,}", loading)
    pairs = inspect(opened) if isinstance(opened, PairedSource) else {}
    if pairs:
        variants = [inspected(variant, pairs, config.draws) for variant in find_variants(config)]
        suite = Suite([*with_purified(variants, config.purify)])
    measures = make_measures(config, suite, samples)
    begun = None if out is None else begun_study(out)
    spec = encoder_spec(config, encoder, measures, begun=None if begun is None else begun.encoder)
    with ready(spec, compiled=False) as loaded:
        spec = spec.resolved(loaded.encoder)
        measures = tuple(loaded.observers[measure.question].prepare(measure) for measure in measures)
        preprocess, probe = encoder_preprocess(loaded.encoder), loaded.probe(spec)
        config = replace(config, resize=preprocess.square(config.resize))
        of = preprocess.size if config.apply_to == "input" else (3 * config.longest // 4, config.longest)
        suite.try_out(of)
        if source is None:
            spec = with_answers(spec, loaded.encoder, suite, of)
        plan = Plan(
            config=config,
            suite=suite,
            source=opened,
            spec=spec,
            encoder=spec.record(loaded.encoder, preprocess),
            measures=measures,
            columns=tuple(column for measure in measures for column in measure.columns(probe)),
            batch_size=spec.batch_for(loaded.encoder),
            images=len(samples),
            encodes_files=config.apply_to == "file" and isinstance(loaded.encoder, ImageEncoder),
        )
        plan = _with_shard_size(plan, begun)
        _refuse_more_than_memory(plan)
        cut = split(samples, plan.shard_size)
        identity = study_identity(plan, cut, order)
        identity |= {} if source is None else _of_vectors(source, identity if begun is None else begun.identity)
        yield StudyContext(
            shards=cut,
            order=order,
            plan=replace(plan, config_hash=identity_hash(identity)),
            ready=loaded,
            identity=identity,
            pairs=pairs,
        )


def _of_vectors(source: VectorSource, begun: Mapping[str, Any]) -> Json:
    """Returns what identifies vectors that exist, which no package alters: a study keeps the versions it began with."""
    return {"vectors": source.digest, "versions": begun["versions"]}


def _with_shard_size(plan: Plan, begun: StudyInfo | None) -> Plan:
    """Returns the plan with a number of images per shard; a study keeps its first number."""
    if plan.config.shard_size != "auto":
        return plan
    size = plan.images_per_shard() if begun is None else int(begun.config["shard_size"])
    return replace(plan, config=replace(plan.config, shard_size=size))


def _refuse_more_than_memory(plan: Plan) -> None:
    if (1 + plan.views + plan.beside) * plan.bytes_per_view > MOST_BYTES:
        most, draws = MOST_BYTES // plan.bytes_per_view - 1 - plan.beside, plan.config.draws
        name = "draws" if draws > 1 else "levels" if plan.config.levels else "augmentations"
        at_most = f"{most // len(plan.suite.names)} draws" if draws > 1 else f"{most} views"
        side = plan.config.longest if plan.encodes_files else plan.encoder.size
        raise UsageError(
            f"`{name}` {getattr(plan.config, name)}: all views of an image are in memory at once, and "
            f"{plan.views:,} of {side} pixels take more than 1 GiB; at most {at_most} fit"
        )
    if (size := min(plan.shard_size, plan.images)) * plan.row_bytes > MOST_BYTES and size > 1:
        takes, fit = size * plan.row_bytes / 2**30, max(1, MOST_BYTES // plan.row_bytes)
        raise UsageError(
            f"`shard_size` {plan.shard_size}: the rows of a shard take {takes:.1f} GiB of memory, more than 1; at most "
            f"{fit} images fit"
        )


def find_suite(config: StudyConfig) -> Suite:
    """Returns the suite in the settings; for pairs the variants, whose bytes are not known yet."""
    if config.pairs:
        check_purifiers(config.purify)
        return Suite([*with_purified(find_variants(config), config.purify)])
    suite = load_suite(
        config.augmentations, families=config.families, levels=config.levels, frost_textures=config.frost_textures
    )
    if config.apply_to == "input" and (named := {*suite.step_suites} & {*SUITE_SETTINGS}):
        words = "change the encoder's input here, and the file in the suite: for its numbers use `apply_to` file"
        log.warning("the steps of `augmentations` %s %s", min(named), words)
    return suite


def find_variants(config: StudyConfig) -> list[Variant]:
    if (views := views_file_of(config.pairs)) is None:
        return [Variant(name) for name in named_variants(config.pairs)]
    return variants_of_views_file(views)


def variants_of_views_file(views: ViewsFile) -> list[Variant]:
    return [
        Variant(name, level=entry.level, seeded_by=entry.seeded_by, description=entry.description, from_views_file=True)
        for name, entry in views.augmentations.items()
    ]


def inspected(variant: Variant, pairs: Mapping[str, Inspection], draws: int) -> Variant:
    inspections = [pairs[folder_of(variant.name, draw, draws)] for draw in range(draws)]
    hashes = [inspection.bytes_hash for inspection in inspections]
    bytes_hash = hashes[0] if draws == 1 else hash_of("\n".join(hashes).encode())
    return replace(variant, bytes_hash=bytes_hash, missing=sum(inspection.missing for inspection in inspections))


def _with_views_file(config: StudyConfig) -> StudyConfig:
    views = views_file_of(config.pairs)
    if config.resize is None:  # pairs of `embedshift views` keep its resizing
        config = replace(config, resize="own" if views and views.identity.get("apply_to") == "file" else "squash")
    if views is None:
        return config
    if config.seed not in (StudyConfig.seed, views.seed):
        raise UsageError(f"`seed` {config.seed}: the views were drawn with the seed {views.seed}; leave it out")
    return replace(config, seed=views.seed, draws=views.draws)


def list_images(
    config: StudyConfig, out: Path | None, given: Source | None = None
) -> tuple[Source, list[ImageRef], str]:
    source, samples = open_images(
        config.images, limit=config.limit, sample=config.sample, seed=config.seed, source=given
    )
    if config.pairs:
        source = open_pairs(source, samples, config.pairs, allow_missing=config.allow_missing)
        samples = list(source.samples)
    described = [source.description, *source.description.get("variants", {}).values()]
    if out is not None and any(
        out.resolve() == Path(described_source.get("root", os.devnull)).resolve() for described_source in described
    ):
        raise UsageError(f"{out} is the folder of the images; choose another `out`")
    return source, *shuffle(samples, source, seed=config.seed)


def begun_study(out: Path) -> StudyInfo | None:
    """Returns the study that began in a folder; None if none can be read."""
    try:
        return read_info(out)
    except UsageError:  # a later step decides whether the folder can be continued
        return None


def encoder_spec(
    config: StudyConfig, encoder: Encoder | None, measures: Sequence[Measure], begun: EncoderRecord | None = None
) -> EncoderSpec:
    precision = config.precision
    if precision == "auto" and any(measure.in_float32 for measure in measures):
        precision = "float32"
    elif precision == "auto" and begun is not None:
        precision = next((name for name in get_args(Precision) if name == begun.precision), precision)
    return EncoderSpec(
        config=config,
        precision=precision,
        given=encoder,
        kernels=None if begun is None else begun.kernels,
        observations=tuple(dict.fromkeys(name for measure in measures for name in measure.observations)),
    )
