"""The records that study.json consists of: the encoder, counts of images, groups, tables and pixels."""

from collections.abc import Mapping
from typing import Annotated

import pydantic
from annotated_types import Ge, Le

from embedshift.config import AtLeast1

Natural = Annotated[int, Ge(0)]


class Model(pydantic.BaseModel):
    """A part of study.json; fields that it does not name are only printed or compared."""

    model_config = pydantic.ConfigDict(frozen=True)


class EncoderRecord(Model):
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


class Counts(Model):
    """Numbers of images that were listed, measured, failed and skipped (by kind), and the number of rows."""

    images: Natural
    measured: Natural
    failed: Natural
    rows: Natural
    skipped: Mapping[str, Natural]


class GroupsRecord(Model):
    """How images were grouped ("folder", "near", "mapping" or a file's name), and a digest of each image's group."""

    chosen: str
    count: Natural
    digest: str


class TableRecord(Model):
    """What a table was made from, the settings of one that is kept, and the columns that hold hashes of names."""

    shards: str
    groups: str = ""
    settings: Mapping[str, str] = {}
    hidden: tuple[str, ...] = ()


class ShardPixels(Model):
    """The number of measured images in a shard, and the digest over their ids and pixels."""

    images: Natural
    digest: str
