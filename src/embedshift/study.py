"""The study, prepared, and `run_study`, the one place that names the order of the steps."""

import functools
import hashlib
import importlib
import importlib.metadata
import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from embedshift import directory, shards, texts
from embedshift.augmentations import Suite, load_suite
from embedshift.config import StudyConfig, make_config, read_config
from embedshift.encoders import Encoder, Preprocess, load_encoder, load_text_encoder
from embedshift.encoders.base import Observable
from embedshift.engines import Engine, Job, Progress
from embedshift.errors import EmbedshiftError
from embedshift.metrics import METRICS, asked_for
from embedshift.plan import Plan
from embedshift.results import Study
from embedshift.sources import Sample, Shard, Source, open_source, passed_over, select, split

__all__ = ["Prepared", "StudyConfig", "make_config", "read_config", "run_study"]

log = logging.getLogger(__name__)

# Rows of activations that keep a device busy; more only takes memory. A fixed table, so that equal studies have equal
# batches.
TOKENS_PER_BATCH = {"cpu": 2_000, "cuda": 50_000, "mps": 10_000}
ENGINES = {"local": "embedshift.engines.devices:run_on_devices", "ray": "embedshift.engines.ray:run_ray"}


class Prepared:
    """A study with its images listed and its encoder loaded, ready to run.

    Args:
        config: The settings.
        out: The study's folder.
        encoder: Loaded already; else `config.model` is loaded.
        suite: The user's own augmentations; else `config.augmentations` is loaded.
    """

    def __init__(
        self, config: StudyConfig, out: Path, encoder: Encoder | None = None, suite: Suite | None = None
    ) -> None:
        self.config, self.out = config, out
        self.suite = suite or load_suite(config.augmentations)
        self.source: Source = open_source(config.images)
        self.samples: list[Sample] = select(
            self.source.samples, limit=config.limit, sample=config.sample, seed=config.seed
        )
        if not self.samples:
            raise EmbedshiftError(
                f"no image in {', '.join(config.images) or 'nothing'}{passed_over(self.source.skipped)}"
            )
        if out.resolve() == Path(self.source.description.get("root", os.devnull)).resolve():
            raise EmbedshiftError(f"{out} is the folder of the images; choose another --out", exit_code=2)
        self.texts = texts.gather(config, self.suite.names, self.samples)
        # Where no map is kept, claims on its spread are tested on this.
        instead = ("attention_entropy_rise",) if config.store == "metrics" else ()
        self.metrics = (*asked_for((*config.metrics, *instead)), *self.texts.metrics)
        self.load: Callable[..., Encoder] = functools.partial(
            load_encoder,
            config.model,
            device=config.device.partition(",")[0],  # the first of several
            precision=config.precision,
            size=config.size,
            embedding=config.embedding,
        )
        if encoder is not None:
            self.load = functools.partial(_same, encoder)
        self.device = config.device if encoder is None else ""
        if self.texts:
            tower = functools.partial(load_text_encoder, config.model, precision=config.precision)
            self.load = functools.partial(texts.with_text_tower, self.load, None if encoder is not None else tower)
        rollout = any(METRICS[name].family == "rollout" for name in self.metrics)
        self.load = functools.partial(_observed, self.load, layers=config.layers, rollout=rollout)
        self.encoder = self.load()
        if config.compile:
            _require_compile(self.encoder)
            self.load = functools.partial(_compiled, self.load, self.batch_size)
        elif _can_compile(self.encoder):
            cast(Any, self.encoder).compile(0)  # a study before this one may have left it compiled
        self.text_vectors = texts.vectors(self.texts, self.encoder)
        self.shards: list[Shard] = split(self.samples, config.shard_size)
        self.identity = json.loads(json.dumps(self._identity()))  # as study.json gives it back
        self.config_hash = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()

    @property
    def batch_size(self) -> int:
        """Views per forward pass: as given, else by device, encoder and size alone."""
        if self.config.batch_size is not None:
            return self.config.batch_size
        device = getattr(getattr(self.encoder, "device", None), "type", "cpu")
        tokens = self.encoder.grid[0] * self.encoder.grid[1] + 1 if self.encoder.grid else 50
        return max(1, TOKENS_PER_BATCH.get(device, 2_000) // tokens)

    @property
    def several_devices(self) -> bool:
        """Whether encoders in other processes do the work."""
        from embedshift.engines.devices import device_names

        return bool(self.device) and len(device_names(self.device)) > 1

    @property
    def preprocess(self) -> Preprocess:
        """How the encoder wants its pictures."""
        encoder = self.encoder
        return getattr(encoder, "preprocess", None) or Preprocess(encoder.size, encoder.mean, encoder.std)

    def plan(self) -> Plan:
        """What the pipeline needs to know."""
        config = self.config
        return Plan(
            self.suite,
            self.preprocess,
            config.resize,
            config.seed,
            config.draws,
            self.metrics,
            self.batch_size,
            self.config_hash,
            config.layers,
            self.text_vectors,
            config.store,
        )

    def job(self, pending: Sequence[Shard], progress: Progress) -> Job:
        """What the engine is asked to do."""
        config = self.config
        return Job(
            pending,
            self.source,
            self.plan(),
            self.encoder,
            self.load,
            _workers(config),
            progress,
            config.num_gpus,
            config.concurrency,
            self.device,
        )

    def _identity(self) -> dict[str, Any]:
        """All that can change a number, and nothing else; the hash of it decides which runs may share a folder."""
        # Shard by shard: the same images cut otherwise, as in several archives, cannot go on with each other's shards.
        ids = "\n\n".join("\n".join(shards.storable(s.image_id) for s in shard.samples) for shard in self.shards)
        config, encoder, preprocess = self.config, self.encoder, self.preprocess
        return {
            "images": {"count": len(self.samples), "ids_hash": hashlib.sha256(ids.encode()).hexdigest()},
            "weights_hash": encoder.weights_hash,
            "embedding": getattr(encoder, "embedding_name", None),
            "size": encoder.size,
            "mean": list(encoder.mean),
            "std": list(encoder.std),
            "resize": config.resize,
            "augmentations": self.suite.describe(),
            "seed": config.seed,
            "draws": config.draws,
            "precision": getattr(encoder, "precision", "float32"),
            **({"shortest": preprocess.shortest, "resample": preprocess.resample} if config.resize == "crop" else {}),
            "batch_size": self.batch_size,
            "shard_size": config.shard_size,
            "metrics": list(self.metrics),
            **({"compile": True} if config.compile else {}),
            **({"layers": True} if config.layers else {}),
            **({"store": config.store} if config.store != "all" else {}),
            **({"text": self.texts.describe() | {"tower": texts.tower_hash(encoder)}} if self.texts else {}),
            "versions": {
                "albumentations": importlib.metadata.version("albumentations"),
                "opencv": importlib.metadata.version("opencv-python-headless"),
                "transformers_major": importlib.metadata.version("transformers").split(".")[0],
            },
        }


def run_study(
    config: StudyConfig,
    out: Path,
    *,
    encoder: Encoder | None = None,
    suite: Suite | None = None,
    progress: Progress = lambda _: None,
    on_start: Callable[[Prepared, int], None] = lambda _prepared, _done: None,
) -> Study:
    """Measures every image that is not measured yet, then writes tables: list, load, lock, shards, tables.

    Args:
        config: The settings.
        out: The study's folder; made if missing. A finished one is left alone, an unfinished one is gone on with.
        encoder: Any `Encoder`, in place of `config.model`.
        suite: The user's own augmentations, in place of `config.augmentations`.
        progress: Called with a number of images whenever so many more are through.
        on_start: Called once with the prepared study and the number of images that were done before.

    Returns:
        The finished study.

    Raises:
        EmbedshiftError: when there is no image, the model cannot be loaded, the folder holds another study or is
            in use, or nothing could be measured.
    """
    prepared = Prepared(config, out, encoder, suite)
    with directory.locked(out):
        done = directory.resumable(prepared)
        on_start(prepared, sum(record.images + len(record.failures) for record in done.values()))
        pending = [shard for shard in prepared.shards if shard.index not in done]
        study = Study(out)
        if not pending and study.is_complete():
            return study
        directory.write_study_file(prepared, list(done.values()), complete=False)
        shards.write_failures(out, list(done.values()))
        if config.compile and pending and config.engine == "local" and not prepared.several_devices:
            prepared.encoder = _compiled(functools.partial(_same, prepared.encoder), prepared.batch_size)
        run = _engine(config.engine)
        for table, record in run(prepared.job(pending, progress)):
            shards.write_shard(out, table, record)
            done[record.index] = record
            if record.failures:
                shards.write_failures(out, [done[index] for index in sorted(done)])
        records = [done[index] for index in sorted(done)]
        if not any(record.images for record in records):
            first = records[0].failures[0]
            raise EmbedshiftError(
                f"nothing was measured: all {len(prepared.samples)} images failed, the first ({first.image_id}) with: "
                f"{first.reason}"
            )
        study.write_tables()
        directory.write_study_file(prepared, records, complete=True)
    return study


def _same(encoder: Encoder, **_where: str) -> Encoder:
    return encoder


def _observed(load: Callable[..., Encoder], device: str | None = None, **more: bool) -> Encoder:
    """The loaded encoder, told what more to give with every output."""
    encoder = load() if device is None else load(device=device)
    if isinstance(encoder, Observable):
        encoder.observe(**more)
    elif any(more.values()):
        asked = " and ".join(name for name, wanted in more.items() if wanted)
        raise EmbedshiftError(f"{encoder.name} gives no {asked}: it has no `observe`, see `Observable`", exit_code=2)
    return encoder


def _compiled(load: Callable[..., Encoder], batch: int, **where: str) -> Encoder:
    """The loaded encoder, compiled for batches of so many views."""
    encoder: Any = load(**where)
    encoder.compile(batch)
    return cast(Encoder, encoder)


def _can_compile(encoder: Any) -> bool:
    # Any torch module has a `compile`; only one that can be observed too is an encoder's own.
    return isinstance(encoder, Observable) and hasattr(encoder, "compile")


def _require_compile(encoder: Encoder) -> None:
    if not _can_compile(encoder):
        raise EmbedshiftError(f"{encoder.name} cannot be compiled: it has no `compile`; run without it", exit_code=2)


def _engine(name: str) -> Engine:
    module, function = ENGINES[name].split(":")
    engine: Engine = getattr(importlib.import_module(module), function)
    return engine


def _workers(config: StudyConfig) -> int:
    from embedshift.engines.local import default_workers

    return default_workers() if config.workers is None else config.workers
