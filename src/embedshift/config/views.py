"""The settings of `embedshift views`."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le

from embedshift.config import ApplyTo, AtLeast1, Resize, Seconds, setting_of_study
from embedshift.registry import setting

Format = Literal["png", "jpeg", "webp"]


@dataclass(frozen=True, kw_only=True)
class ViewsConfig:
    """All settings of written views, under the names of `embedshift.write_views` and the command line."""

    images: tuple[str, ...] = setting_of_study("images")
    augmentations: str = setting_of_study("augmentations")
    families: tuple[str, ...] = setting_of_study("families")
    levels: AtLeast1 | None = setting_of_study("levels")
    frost_textures: str | None = setting_of_study("frost_textures")
    apply_to: ApplyTo = setting("file", "What changes: file (the image at its own size) or input (a square).")
    longest: Annotated[int, Ge(32), Le(16_384)] = setting_of_study("longest")
    size: Annotated[int, Ge(8), Le(16_384)] = setting(224, "With apply_to input: the side of the square in pixels.")
    resize: Resize = setting_of_study("resize", "With apply_to input: how images become square: squash or crop.")
    format: Format = setting("png", "Format of the files: png, or with loss jpeg or webp.")
    quality: Annotated[int, Ge(1), Le(100)] = setting(95, "Of jpeg and webp, from 1 to 100.")
    limit: AtLeast1 | None = setting_of_study("limit")
    sample: AtLeast1 | None = setting_of_study("sample")
    seed: Annotated[int, Ge(0)] = setting_of_study("seed", "Seed of all draws.")
    draws: AtLeast1 = setting_of_study("draws")
    workers: Annotated[int, Ge(0)] | None = setting_of_study("workers", "Processes. Default: one per core, at most 8.")
    image_timeout: Seconds = setting_of_study("image_timeout")
