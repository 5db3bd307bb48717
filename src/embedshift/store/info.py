"""study.json: what a study is, typed."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedshift.config import Json
from embedshift.errors import UsageError, reason
from embedshift.store.shards import SCHEMA_VERSION, another_schema, write_whole

FILE = "study.json"


@dataclass(frozen=True, kw_only=True)
class EncoderRecord:
    """The encoder of a study: the fields of `Encoder`, `EncoderInfo` and `Preprocess`, and what a report calls it."""

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


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many images were listed, measured, failed and passed over (by what they are), and how many rows there are."""

    images: int
    measured: int
    failed: int
    rows: int
    skipped: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class StudyInfo:
    """The content of study.json.

    Args:
        embedshift: Version that wrote it.
        schema_version: Of rows and of this file.
        complete: Whether the run reached its end.
        config: Every setting by its name.
        config_hash: Over `identity`.
        identity: All that can change a number.
        questions: Those that were asked, in order, and what each needs to know of the run.
        augmentations: Names, in suite order.
        encoder: The encoder.
        source: Where images come from, so that they can be read again.
        order: How they were put in order before they were cut into shards.
        counts: Of images and rows.
        seconds: Per stage.
        versions: Of libraries.
        pairs: Of a study of pairs: by name how many variants there are, and how many are missing or stretched.
    """

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
        return int(self.config["seed"])

    @property
    def draws(self) -> int:
        """Views per augmentation."""
        return int(self.config["draws"])

    @property
    def parts(self) -> int:
        """How many shards it has once it is finished."""
        return -(-self.counts.images // int(self.config["shard_size"]))

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics, in the order of the columns."""
        return list(self.identity["metrics"])

    @property
    def has_vectors(self) -> bool:
        """Whether every row holds its embedding and attention; with `store="metrics"` few rows hold the latter."""
        return bool(self.config["store"] == "all")

    def write(self, folder: Path) -> None:
        """Writes study.json, whole or not at all."""
        text = json.dumps(dataclasses.asdict(self), indent=2)  # escaped: a path may hold bytes that are no text
        write_whole(folder / FILE, lambda hidden: hidden.write_text(text))


def read_content(folder: Path) -> Json:
    """study.json as it is; UsageError where there is none."""
    try:
        content: Json = json.loads((folder / FILE).read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder}: no study here ({reason(error)})") from error
    if not isinstance(content, dict):
        raise UsageError(f"{folder}: no study here ({FILE} is no JSON object)")
    return content


def read_info(folder: Path) -> StudyInfo:
    """The study in a folder.

    Raises:
        UsageError: when there is none, or one that another version of embedshift wrote.
    """
    content = read_content(folder)
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        raise UsageError(another_schema(str(folder), version))
    known = {field.name for field in dataclasses.fields(StudyInfo)}
    try:
        content |= {"encoder": _encoder(content["encoder"]), "counts": Counts(**content["counts"])}
        content |= {"augmentations": tuple(content["augmentations"])}
        return StudyInfo(**{name: value for name, value in content.items() if name in known})
    except (KeyError, TypeError) as error:
        raise UsageError(f"{folder}: its {FILE} is not whole ({reason(error)})") from error


def _encoder(content: Json) -> EncoderRecord:
    lists = {name: tuple(value) for name, value in content.items() if isinstance(value, list)}
    return EncoderRecord(**content | lists)
