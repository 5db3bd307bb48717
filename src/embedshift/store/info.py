"""study.json: the description of a study, typed."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from annotated_types import Ge, Le

from embedshift.config import AtLeast1, Json, Resize, Store
from embedshift.errors import UsageError, reason
from embedshift.sources import SOURCES
from embedshift.sources.base import storable
from embedshift.statistics.families import families_of
from embedshift.store.shards import SCHEMA_VERSION, another_schema, write_whole

S = TypeVar("S")

FILE = "study.json"
Natural = Annotated[int, Ge(0)]


@dataclass(frozen=True, kw_only=True)
class EncoderRecord:
    """The encoder of a study: the fields of `Encoder`, `EncoderInfo` and `Preprocess`, its title, and its kernels."""

    name: str
    title: str | None = None
    revision: str | None = None
    weights_hash: str
    embedding: str | None = None
    embedding_definition: str | None = None
    dim: AtLeast1
    grid: tuple[AtLeast1, AtLeast1] | None
    size: AtLeast1
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    shortest: AtLeast1 | None
    resample: Annotated[int, Ge(0), Le(5)]
    precision: str
    attention_kind: str | None
    kernels: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Numbers of images that were listed, measured, failed and skipped (by kind), and the number of rows."""

    images: Natural
    measured: Natural
    failed: Natural
    rows: Natural
    skipped: Mapping[str, Natural]


@dataclass(frozen=True, kw_only=True)
class StudyInfo:
    """The content of study.json."""

    embedshift: str
    schema_version: int
    complete: bool
    config: Mapping[str, Any]
    config_hash: str
    identity: Mapping[str, Any]
    questions: Mapping[str, Mapping[str, Any]]
    augmentations: tuple[str, ...]
    encoder: EncoderRecord
    source: Mapping[str, Any]
    order: str
    counts: Counts
    seconds: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    pairs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """The study's seed."""
        return int(self.identity["seed"])

    @property
    def draws(self) -> int:
        """Views per augmentation."""
        return int(self.identity["draws"])

    @property
    def parts(self) -> int:
        """Number of shards of the finished study."""
        return -(-self.counts.images // int(self.config["shard_size"]))

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics, in the order of their columns."""
        return list(self.identity["metrics"])

    @property
    def has_vectors(self) -> bool:
        """Whether every row holds its embedding and attention; with `store="metrics"` few rows hold attention."""
        return bool(self.config["store"] == "all")

    def write(self, folder: Path) -> None:
        """Writes study.json, completely or not at all."""
        text = json.dumps(dataclasses.asdict(self), indent=2)  # escaped: a path may hold bytes that are no text
        write_whole(folder / FILE, lambda hidden: hidden.write_text(text, encoding="utf-8"))


def hash_of(identity: Mapping[str, Any]) -> str:
    """Returns the hash that shards and study.json carry."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def read_content(folder: Path) -> Json:
    """Returns the content of study.json; UsageError if there is none."""
    if (name := storable(str(folder))) != str(folder):  # Arrow and Polars open no such path
        raise UsageError(f"{name}: contains bytes that are not UTF-8; rename it")
    file = folder / FILE
    try:
        if file.exists() and not file.is_file():
            raise UsageError(f"{file}: not a file")
        content: Json = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"{folder}: no study here (no file {FILE})") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{folder}: no study here ({reason(error)})") from error
    if not isinstance(content, dict):
        raise UsageError(f"{folder}: no study here ({FILE} is not a JSON object)")
    return content


def read_info(folder: Path) -> StudyInfo:
    """Reads the study in a folder."""
    content = read_content(folder)
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        raise UsageError(another_schema(str(folder), version))
    try:
        info = _typed(StudyInfo, content)
        _check(info)
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise UsageError(f"{folder}: its {FILE} is incomplete or damaged ({reason(error):.300})") from error
    return info


def _typed(kind: type[S], content: Any) -> S:
    import pydantic  # a tenth of a second that `--help` does not need

    asked: Any = kind
    try:
        typed: S = _validator(asked)(content)
        return typed
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


@functools.cache
def _validator(kind: Any) -> Callable[[Any], Any]:
    """Builds a validator once, which takes a hundred times as long as its use; tables use it a hundred times."""
    import pydantic

    return pydantic.TypeAdapter(kind).validate_python


def _check(info: StudyInfo) -> None:
    """Raises ValueError, KeyError or TypeError if parts of study.json are not what a run writes."""
    _typed(_Config, info.config)
    _typed(_Identity, info.identity)
    _check_source(_typed(_Source, info.source))
    for name, each in info.pairs.items():
        _typed(_Pair, each)
        info.source["variants"][name]["paths"]
    for entry in info.identity["augmentations"].values():
        _check_augmentation(entry)
    families_of(info.identity["augmentations"])
    if info.config_hash != hash_of(info.identity):
        raise ValueError("its identity does not match its hash")
    if list(info.augmentations) != list(info.identity["augmentations"]):
        raise ValueError("its augmentations do not match its identity")
    told = info.identity["questions"]
    if any(dict(said) != told.get(name, {}) for name, said in info.questions.items()):
        raise ValueError("its questions do not match its identity")


@dataclass
class _Config:
    """The settings that are read, apart from those that the report only prints."""

    shard_size: AtLeast1
    images: list[str]
    store: Store


@dataclass
class _Images:
    ids_hash: str


@dataclass
class _Identity:
    """The parts of the identity that are read, apart from those that are only compared."""

    images: _Images
    seed: Natural
    draws: AtLeast1
    size: AtLeast1
    resize: Resize
    precision: str
    metrics: list[str]
    augmentations: dict[str, dict[str, Any]]
    questions: dict[str, dict[str, Any]]
    versions: dict[str, str]


@dataclass
class _Source:
    kind: str
    root: str | None = None
    paths: list[str] | None = None
    variants: "dict[str, _Source]" = field(default_factory=dict)


@dataclass
class _Pair:
    count: Natural
    missing: Natural
    stretched: Natural
    first: str | None


@dataclass
class _Grade:
    family: str
    level: AtLeast1
    parameter: float
    unit: str
    zero: float


@dataclass
class _Purified:
    of: str
    purifier: str
    version: int


def _check_source(source: _Source) -> None:
    if source.kind not in SOURCES:
        raise ValueError(f"source: unknown kind {source.kind:.40}")
    if (source.root is None) if source.kind == "folder" else (source.paths is None):
        raise ValueError("source: it has no location")


def _check_augmentation(entry: Mapping[str, Any]) -> None:
    """Checks a description in the form of `Augmentation.describe`."""
    if "grade" in entry:
        _typed(_Grade, entry["grade"])
    for step in entry.get("steps", ()):
        _typed(str, step["name"])
        _check_augmentation(step)
    if "purifier" in entry:
        _typed(_Purified, entry)
    elif "albumentations" in entry:
        _typed(str, entry["albumentations"]["__class_fullname__"])
    elif "variant" in entry:
        _typed(str, entry["hash"])
    elif not {"steps", "callable"} & entry.keys():
        _typed(int, entry["version"])
