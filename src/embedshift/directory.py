"""The study's folder while a run is at work in it: the lock, study.json, and the check that it is the same study."""

import contextlib
import fcntl
import importlib.metadata
import json
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedshift import shards
from embedshift.errors import EmbedshiftError
from embedshift.results import Study

if TYPE_CHECKING:
    from embedshift.study import Prepared

VERSIONS = ("torch", "transformers", "albumentations", "opencv-python-headless", "numpy", "pillow", "polars", "pyarrow")


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Makes the folder and keeps a second run out of it.

    The kernel holds the lock for this process alone and not for its children, so that any death frees it.

    Raises:
        EmbedshiftError: when another run holds it, or the folder cannot be written.
    """
    if shards.storable(str(out)) != str(out):  # Arrow and Polars open no such path
        words = "holds bytes that are not UTF-8; choose another --out"
        raise EmbedshiftError(f"{shards.storable(str(out))}: {words}", exit_code=2)
    try:
        (out / "shards").mkdir(parents=True, exist_ok=True)
        lock = open(out / ".lock", "w")  # noqa: SIM115 - closed by the with below
    except OSError as error:
        raise EmbedshiftError(f"{out}: cannot be written ({error.strerror})", exit_code=2) from error
    with lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise EmbedshiftError(f"{out}: another run is at work here; wait for it or choose another --out") from error
        for leftover in (out / "shards").glob(".*"):
            leftover.unlink()
        yield


def resumable(prepared: "Prepared") -> dict[int, shards.ShardRecord]:
    """The finished shards of this very study; another study in the folder is refused, and what differs is named."""
    out = prepared.out
    records = {record.index: record for record in shards.finished(out)}
    stored = Study(out).info() if Study(out).exists() else None
    hashes = {record.config_hash for record in records.values()} | ({stored["config_hash"]} if stored else set())
    if hashes - {prepared.config_hash}:
        then = stored["identity"] if stored else {}
        what = differences(then, prepared.identity) or ["the configuration"]
        if then.get("images") != prepared.identity["images"]:
            what += _moved_images(prepared, records)
        raise EmbedshiftError(
            f"{out} holds another study: {'; '.join(what)}. Choose another --out, or delete it", exit_code=2
        )
    return records


def _moved_images(prepared: "Prepared", records: Mapping[int, shards.ShardRecord]) -> list[str]:
    """Names of images that were added or removed, as far as the finished shards know."""
    before = Study(prepared.out).image_ids() | {f.image_id for r in records.values() for f in r.failures}
    now = {shards.storable(sample.image_id) for sample in prepared.samples}
    whole, last = Study(prepared.out).is_complete(), max(before, default="")
    added = sorted(image for image in now - before if whole or image <= last)
    return [
        f"{word}: {', '.join(names[:3])}{', …' if len(names) > 3 else ''}"
        for word, names in (("added", added), ("removed", sorted(before - now)))
        if names
    ]


def write_study_file(prepared: "Prepared", records: Sequence[shards.ShardRecord], *, complete: bool) -> None:
    """Rebuilds study.json from the prepared study and the finished shards."""
    encoder, config, plan = prepared.encoder, prepared.config, prepared.plan()
    seconds: Counter[str] = Counter()
    for record in records:
        seconds.update(record.seconds)
    measured = sum(record.images for record in records)
    content = {
        "embedshift": importlib.metadata.version("embedshift"),
        "schema_version": shards.SCHEMA_VERSION,
        "complete": complete,
        "config": config.model_dump(mode="json"),
        "config_hash": prepared.config_hash,
        "identity": prepared.identity,
        "augmentations": list(prepared.suite.names),
        "encoder": {
            "name": encoder.name,
            "revision": getattr(encoder, "revision", None),
            "weights_hash": encoder.weights_hash,
            "embedding": getattr(encoder, "embedding_name", None),
            "embedding_definition": getattr(encoder, "embedding_definition", None),
            "dim": encoder.dim,
            "grid": encoder.grid,
            "size": encoder.size,
            "mean": encoder.mean,
            "std": encoder.std,
            "shortest": plan.preprocess.shortest,
            "resample": plan.preprocess.resample,
            "precision": prepared.identity["precision"],
            "attention_kind": getattr(encoder, "attention_kind", None),
        },
        "source": dict(prepared.source.description),
        "counts": {
            "images": len(prepared.samples),
            "measured": measured,
            "failed": sum(len(record.failures) for record in records),
            "rows": measured * (1 + len(prepared.suite.names) * config.draws),
            "skipped": dict(prepared.source.skipped),
        },
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS}
        | {"python": platform.python_version()},
    }
    text = json.dumps(content, indent=2)  # escaped, since a path may hold bytes that are no text
    shards.write_whole(Study(prepared.out).file, lambda hidden: hidden.write_text(text))


def differences(
    then: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "", *, words: tuple[str, str] = ("there", "now")
) -> list[str]:
    """What differs between two configurations, setting by setting.

    Args:
        then: One.
        now: The other.
        prefix: Goes before every name.
        words: What to call the two.

    Example:
        >>> differences({"seed": 0, "size": 224}, {"seed": 1, "size": 224})
        ['seed: 0 there, 1 now']
    """
    found: list[str] = []
    for key in dict.fromkeys([*then, *now]):
        old, new = then.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, f"{prefix}{key}.", words=words)
        elif old != new:
            found.append(f"{prefix}{key}: {_short(old)} {words[0]}, {_short(new)} {words[1]}")
    return found


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
