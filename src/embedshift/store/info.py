"""study.json, the description of a study, typed; and whether two studies, or a study and a run, are the same.

Encoders, and functions of a user, are the same where their answers on fixed inputs are, up to rounding.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from embedshift.arrays import Floats
from embedshift.config import VECTORS, Json
from embedshift.config.safe_files import read_file
from embedshift.errors import EmbedshiftError, UsageError, reason
from embedshift.registry import OWN, add_stored
from embedshift.sources.base import storable
from embedshift.store.files import is_intact, with_checksum, write_atomically

FILE = "study.json"
# Of study.json and of shards.
SCHEMA_VERSION = 8
# One vector per fixed input; None without an answer.
Answer = tuple[tuple[float, ...] | None, ...]
# Maximum bytes of a file that is read.
LARGEST = 2**30


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)


class EncoderRecord(Model):
    """The encoder of a study: the fields of `Encoder`, `EncoderInfo` and `Preprocess`, its title, and its kernels."""

    name: str
    title: str | None = None
    revision: str | None = None
    weights_hash: str
    embedding: str | None = None
    embedding_definition: str | None = None
    dim: int
    grid: tuple[int, int] | None
    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    shortest: int | None
    resample: int
    precision: str
    attention_kind: str | None
    kernels: tuple[str, ...] | None = None
    takes_images: bool = False
    configuration: Mapping[str, Any] = {}
    # Largest distance of its answers in another pass or batch.
    instability: float = 0.0


class Counts(Model):
    images: int
    measured: int
    failed: int
    rows: int
    skipped: Mapping[str, int]


class GroupsRecord(Model):
    chosen: str
    count: int
    digest: str


class Until(Model):
    """The width of `until`, the shards that are kept anyway, the sufficient number, and the widest interval now."""

    width: float
    kept: int = 0
    shards: int | None = None
    augmentation: str = ""
    present: float | None = None


class TableRecord(Model):
    """The settings of a stored table, and its columns of hashed names."""

    settings: Mapping[str, str] = {}
    hidden: tuple[str, ...] = ()


class RulesRecord(Model):
    """Rules for the study's report as given, and their results."""

    text: str
    counts: Mapping[str, int]
    named: tuple[str, ...] = ()
    # Checksum of the checked rows, and digest of the groups.
    rows: str = ""
    groups: str = ""


class ShardPixels(Model):
    images: int
    digest: str


class StudyInfo(Model):
    embedshift: str
    schema_version: int
    complete: bool
    config: Mapping[str, Any]
    config_hash: str
    # Everything that can change a number.
    identity: Mapping[str, Any]
    # The questions asked, in order, with their data on the run.
    questions: Mapping[str, Mapping[str, Any]]
    augmentations: tuple[str, ...]
    # Name of an augmentation → its one-line description.
    descriptions: Mapping[str, str] = {}
    encoder: EncoderRecord
    # Answers of the encoder, and of the user's own functions, to fixed inputs at the start of the study.
    answers: Mapping[str, Answer] = {}
    source: Mapping[str, Any]
    # Order of the images before they were cut into shards.
    order: str
    counts: Counts
    seconds: Mapping[str, float] = {}
    versions: Mapping[str, str] = {}
    # The variants of a study of pairs, by name.
    variants: Mapping[str, Mapping[str, Any]] = {}
    # Random; also in its shards, to distinguish studies with equal settings.
    study_id: str = ""
    # Name of a shard → digest of its pixels at the first measurement, kept if the shard is measured again.
    pixels: Mapping[str, ShardPixels] = {}
    # Name of a shard, table, figure or report, or of failures.parquet → SHA-256 of its file.
    files: Mapping[str, str] = {}
    tables: Mapping[str, TableRecord] = {}
    # Checksum of the rows behind the tables.
    rows: str = ""
    # Groups behind the tables; None = images are independent.
    groups: GroupsRecord | None = None
    rules: RulesRecord | None = None
    # The last run's `until`; None = all images.
    until: Until | None = None

    @property
    def ended(self) -> Until | None:
        """The end by `until`; None = the study holds all images, or is not finished."""
        return self.until if self.complete and self.until and self.until.shards else None

    @property
    def checked(self) -> RulesRecord | None:
        """The rules that these rows were checked against, with these groups."""
        now, rules = (self.rows, self.groups_digest), self.rules
        return rules if rules and (rules.rows, rules.groups) == now else None

    @property
    def group_count(self) -> int:
        """Number of groups of measured images; independent images count singly."""
        return self.groups.count if self.groups else self.counts.measured

    @property
    def groups_digest(self) -> str:
        """Digest of the groups; "" = images are independent."""
        return self.groups.digest if self.groups else ""

    @property
    def seed(self) -> int:
        return int(self.identity["seed"])

    @property
    def draws(self) -> int:
        return int(self.identity["draws"])

    @property
    def shard_count(self) -> int:
        if self.ended and self.ended.shards:
            return self.ended.shards
        return -(-self.counts.images // int(self.config["shard_size"]))

    @property
    def images_tried(self) -> int:
        return min(self.counts.images, self.shard_count * int(self.config["shard_size"]))

    @property
    def metrics(self) -> list[str]:
        return list(self.identity["metrics"])

    @property
    def has_vectors(self) -> bool:
        """Whether every row holds embedding and attention; with `store="metrics"` few rows hold attention."""
        return bool(self.config["store"] == "all")

    @property
    def has_pixels(self) -> bool:
        """Whether it measured images; a study of vectors has no metrics of pixels or attention."""
        return bool(self.config.get("augmentations") != VECTORS)

    def write(self, folder: Path) -> None:
        write_content(folder, self.model_dump())


def write_content(folder: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(with_checksum(content), indent=2)  # escaped: a path may hold bytes that are no text
    write_atomically(folder / FILE, lambda hidden: hidden.write_text(text, encoding="utf-8"))


def read_content(folder: Path) -> Json:
    if (name := storable(str(folder))) != str(folder):  # Arrow and Polars open no such path
        raise UsageError(f"{name}: contains bytes that are not UTF-8; rename it")
    file = folder / FILE
    try:
        content: Json = json.loads(read_file(file, LARGEST))
    except FileNotFoundError as error:
        raise UsageError(f"{folder}: no study here (no file {FILE})") from error
    except (OSError, ValueError, RecursionError, EmbedshiftError) as error:
        raise UsageError(f"{folder}: no study here ({reason(error)})") from error
    if not isinstance(content, dict):
        raise UsageError(f"{folder}: no study here ({FILE} is not a JSON object)")
    return content


def schema_message(location: str, version: object) -> str:
    words = f"written with schema {version}, this embedshift reads {SCHEMA_VERSION}"
    return f"{location}: {words}: run the study again into another folder"


def read_info(folder: Path) -> StudyInfo:
    content = read_content(folder)
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        raise UsageError(schema_message(str(folder), version))
    try:
        if not is_intact(content):
            raise ValueError("it does not match its checksum")
        info = StudyInfo.model_validate(content)
    except (ValueError, RecursionError) as error:
        problem = reason(error)
        if isinstance(error, pydantic.ValidationError):
            first = error.errors()[0]
            problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise UsageError(f"{folder}: its {FILE} is incomplete or damaged ({problem:.300})") from error
    add_stored(info.questions.get(OWN, {}))
    return info


ENCODER = "the encoder"
# Largest relative distance of two answers due to rounding: of an encoder by its precision, across instruction sets,
# threads and batches (`benchmarks/answers.py`), and of statistics of a view.
ROUNDING = {"float32": 5e-4, "float16": 1e-2, "bfloat16": 3e-2}
OF_VIEWS = 1e-3
# Additional distance allowed for an unstable encoder in other passes.
UNSTABLE = 3


def identity_hash(identity: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def differences(
    then: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "", *, words: tuple[str, str] = ("there", "now")
) -> list[str]:
    lines: list[str] = []
    for key in dict.fromkeys([*then, *now]):
        old, new = then.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += differences(old, new, f"{prefix}{key}.", words=words)
        elif old != new:
            lines.append(f"{prefix}{key}: {_short(old)} {words[0]}, {_short(new)} {words[1]}")
    return lines


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def as_answer(vectors: Floats) -> Answer:
    """Returns `[K, D]` as an answer of seven digits, the precision of float32."""
    return tuple(
        tuple(float(f"{value:.7g}") for value in vector) if np.isfinite(vector).all() else None for vector in vectors
    )


def distance(one: Answer, other: Answer) -> float:
    """Returns the largest L2 distance of two vectors for the same input, relative to the first; 0 if there are none."""
    pairs = [(np.array(a), np.array(b)) for a, b in zip(one, other, strict=False) if a is not None and b is not None]
    if any(len(a) != len(b) for a, b in pairs):
        return math.inf
    moved = ((float(np.linalg.norm(a - b)), float(np.linalg.norm(a))) for a, b in pairs)
    return max((by / (length or 1e-38) for by, length in moved), default=0.0)


def allowed(name: str, precision: str, instability: float = 0.0) -> float:
    rounding = ROUNDING.get(precision, ROUNDING["float32"]) if name == ENCODER else OF_VIEWS
    return max(rounding, UNSTABLE * instability)


def other_answers(stored: StudyInfo, now: Mapping[str, Answer]) -> str | None:
    """Returns which answers differ from those of a study, and by how much; None if all are equal."""
    for name, answer in now.items():
        limit = allowed(name, stored.encoder.precision, stored.encoder.instability)
        if (moved := distance(stored.answers.get(name, ()), answer)) > limit:
            return (
                f"{name} gives other numbers for a fixed test image (relative distance {moved:.2g}, rounding {limit:g})"
            )
    return None


def is_same_encoder(one: StudyInfo, other: StudyInfo) -> bool:
    """Returns whether the embeddings of two studies lie in one space: equal weights, configuration and answers."""
    first, second = one.encoder, other.encoder
    described = [(e.weights_hash, e.embedding, e.dim, dict(e.configuration)) for e in (first, second)]
    if described[0] != described[1]:
        return False
    if (first.size, first.mean, first.std) != (second.size, second.mean, second.std):
        return True  # the test images differ
    limit = max(allowed(ENCODER, encoder.precision, encoder.instability) for encoder in (first, second))
    return distance(one.answers.get(ENCODER, ()), other.answers.get(ENCODER, ())) <= limit
