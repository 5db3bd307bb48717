"""The parts of study.json that are validated and kept as they are, because its hash is over their own text."""

from typing import Annotated, Any, Self

import pydantic
from annotated_types import Ge

from embedshift.config import LONGEST, ApplyTo, AtLeast1, Grade, Resize, Store
from embedshift.sources import SOURCES

Natural = Annotated[int, Ge(0)]


class Model(pydantic.BaseModel):
    """A part of study.json; fields that it does not name are only printed or compared."""

    model_config = pydantic.ConfigDict(frozen=True)


class Config(Model):
    shard_size: AtLeast1
    images: list[str]
    store: Store


class Transform(Model):
    name: str = pydantic.Field(alias="__class_fullname__")


class Augmentation(Model):
    """An augmentation in the form of `Augmentation.describe`, or one of its steps, which alone have a name."""

    name: str | None = None
    grade: Grade | None = None
    steps: "tuple[Augmentation, ...] | None" = None
    purifier: str | None = None
    of: str | None = None
    variant: Any = None
    hash: str | None = None
    albumentations: Transform | None = None
    callable: Any = None
    version: int | None = None

    @pydantic.model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.purifier is not None:
            complete = self.of is not None and self.version is not None
        elif self.variant is not None:
            complete = self.hash is not None
        elif self.steps is not None:
            complete = all(step.name is not None for step in self.steps)
        else:
            complete = any(part is not None for part in (self.albumentations, self.callable, self.version))
        if not complete:
            raise ValueError("an augmentation is described in part")
        return self


class Images(Model):
    ids_hash: str


class Identity(Model):
    images: Images
    seed: Natural
    draws: AtLeast1
    size: AtLeast1
    resize: Resize
    apply_to: ApplyTo = "input"
    longest: AtLeast1 = LONGEST
    precision: str
    metrics: list[str]
    augmentations: dict[str, Augmentation]
    questions: dict[str, dict[str, Any]]
    versions: dict[str, str]


class Source(Model):
    kind: str
    root: str | None = None
    paths: list[str] | None = None
    variants: "dict[str, Source]" = {}

    @pydantic.model_validator(mode="after")
    def _has_location(self) -> Self:
        if self.kind not in SOURCES:
            raise ValueError(f"unknown kind {self.kind:.40}")
        if (self.root is None) if self.kind == "folder" else (self.paths is None):
            raise ValueError("it has no location")
        return self


class Pair(Model):
    count: Natural
    missing: Natural
    stretched: Natural
    first: str | None
