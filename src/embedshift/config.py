"""The settings of a study: what they may be, and how they are read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from embedshift.encoders import Precision
from embedshift.errors import EmbedshiftError, reason


class StudyConfig(BaseModel):
    """Everything that a study is made from; frozen, and an unknown key is refused.

    Example:
        >>> StudyConfig(images=("photos",), seed=3).seed
        3
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: tuple[str, ...] = ()
    model: str = "openai/clip-vit-base-patch32"
    embedding: str | None = None
    augmentations: str = "paper"
    metrics: tuple[str, ...] = ()
    compile: bool = False
    layers: bool = False
    store: Literal["all", "metrics"] = "all"
    text: bool = False
    labels: str | tuple[str, ...] | None = None
    words: str | dict[str, str] | None = None
    limit: Annotated[int, Field(ge=1)] | None = None
    sample: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    draws: Annotated[int, Field(ge=1)] = 1
    size: Annotated[int, Field(ge=8)] | None = None
    resize: Literal["squash", "crop"] = "squash"
    shard_size: Annotated[int, Field(ge=1)] = 64
    batch_size: Annotated[int, Field(ge=1)] | None = None
    workers: Annotated[int, Field(ge=0)] | None = None
    precision: Precision = "float32"
    device: str = "auto"
    engine: Literal["local", "ray"] = "local"
    num_gpus: Annotated[float, Field(ge=0)] | None = None
    concurrency: Annotated[int, Field(ge=1)] | None = None


def make_config(given: Mapping[str, Any]) -> StudyConfig:
    """A `StudyConfig` of what was given; a wrong value or key raises EmbedshiftError (exit code 2) with one line.

    Example:
        >>> make_config({"draws": 0})
        Traceback (most recent call last):
        embedshift.errors.EmbedshiftError: draws: Input should be greater than or equal to 1
    """
    try:
        return StudyConfig.model_validate(dict(given))
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise EmbedshiftError("; ".join(lines), exit_code=2) from error


def read_config(file: Path) -> dict[str, Any]:
    """The settings in a YAML or JSON file, by the names of `StudyConfig`."""
    try:
        content = yaml.safe_load(file.read_text())
    except OSError as error:
        raise EmbedshiftError(f"{file}: {error.strerror}", exit_code=2) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise EmbedshiftError(f"{file}: not YAML ({reason(error)})", exit_code=2) from error
    if not isinstance(content, dict):
        raise EmbedshiftError(f"{file}: give settings as 'name: value' lines", exit_code=2)
    return {"images": [content.pop("images")], **content} if isinstance(content.get("images"), str) else content
