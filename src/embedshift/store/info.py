"""study.json: the description of a study, typed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydantic

from embedshift.config import VECTORS, Json
from embedshift.config.safe_files import read_file
from embedshift.errors import EmbedshiftError, UsageError, reason
from embedshift.registry import OWN, add_stored
from embedshift.sources.base import storable
from embedshift.store.files import is_intact, with_checksum, write_atomically

FILE = "study.json"
# Of study.json and of shards.
SCHEMA_VERSION = 8
# A vector for each fixed input; None where there was no answer.
Answer = tuple[tuple[float, ...] | None, ...]
# Bytes of the largest file that is read.
LARGEST = 2**30


class Model(pydantic.BaseModel):
    """A part of study.json."""

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
    # The largest distance of its answers in another pass or batch.
    instability: float = 0.0


class Counts(Model):
    """Numbers of images that were listed, measured, failed and skipped (by kind), and the number of rows."""

    images: int
    measured: int
    failed: int
    rows: int
    skipped: Mapping[str, int]


class GroupsRecord(Model):
    """How images were grouped ("folder", "near", "mapping" or a file's name), and a digest of each image's group."""

    chosen: str
    count: int
    digest: str


class Until(Model):
    """The width of `until`, the shards kept in any case, how many are enough, and the widest interval at present."""

    width: float
    kept: int = 0
    shards: int | None = None
    augmentation: str = ""
    present: float | None = None


class TableRecord(Model):
    """The settings of a table that is kept, and its columns that hold hashes of names."""

    settings: Mapping[str, str] = {}
    hidden: tuple[str, ...] = ()


class ShardPixels(Model):
    """The number of measured images in a shard, and the digest over their ids and pixels."""

    images: int
    digest: str


class StudyInfo(Model):
    """The content of study.json, but for its own checksum."""

    embedshift: str
    schema_version: int
    complete: bool
    config: Mapping[str, Any]
    config_hash: str
    # Everything that can change a number.
    identity: Mapping[str, Any]
    # The questions asked, in order, and what they must know about the run.
    questions: Mapping[str, Mapping[str, Any]]
    augmentations: tuple[str, ...]
    # Name of an augmentation → one line that says what it is.
    descriptions: Mapping[str, str] = {}
    encoder: EncoderRecord
    # What the encoder, and each of the user's own functions, answered on fixed inputs when the study began.
    answers: Mapping[str, Answer] = {}
    source: Mapping[str, Any]
    # How images were ordered before they were cut into shards.
    order: str
    counts: Counts
    seconds: Mapping[str, float] = {}
    versions: Mapping[str, str] = {}
    # The variants of a study of pairs, by name.
    pairs: Mapping[str, Mapping[str, Any]] = {}
    # Random; its shards hold it too, so that one of another study with equal settings is not taken for its own.
    study_id: str = ""
    # Name of a shard → its pixels when it was first measured. They stay when the shard is measured again.
    pixels: Mapping[str, ShardPixels] = {}
    # Name of a shard, table, figure or report, or of failures.parquet → SHA-256 of its file.
    files: Mapping[str, str] = {}
    tables: Mapping[str, TableRecord] = {}
    # The checksum of the rows that the tables were made from.
    rows: str = ""
    # The groups of images that the tables are made with; None = images are independent.
    groups: GroupsRecord | None = None
    # What the last run was asked for by `until`; None = all images.
    until: Until | None = None

    @property
    def ended(self) -> Until | None:
        """Where `until` ended the study; None = it holds all images, or is not finished."""
        return self.until if self.complete and self.until and self.until.shards else None

    @property
    def units(self) -> int:
        """Number of units of intervals: groups, or measured images."""
        return self.groups.count if self.groups else self.counts.measured

    @property
    def groups_digest(self) -> str:
        """The digest of the groups; "" = images are independent."""
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
        """Whether every row holds its embedding and attention; with `store="metrics"` few rows hold attention."""
        return bool(self.config["store"] == "all")

    @property
    def has_pixels(self) -> bool:
        """Whether it measured images; a study of vectors has metrics of neither pixels nor attention."""
        return bool(self.config.get("augmentations") != VECTORS)

    def write(self, folder: Path) -> None:
        write_content(folder, self.model_dump())


def write_content(folder: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(with_checksum(content), indent=2)  # escaped: a path may hold bytes that are no text
    write_atomically(folder / FILE, lambda hidden: hidden.write_text(text, encoding="utf-8"))


def read_content(folder: Path) -> Json:
    """Reads study.json without checking it; UsageError if there is none."""
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
