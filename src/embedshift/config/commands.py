"""The settings of `embedshift attack`, `embedshift views` and `embedshift vectors`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le

from embedshift.config import VECTORS, ApplyTo, AtLeast1, Resize, Seconds, Store, setting_of_study, validated
from embedshift.errors import UsageError
from embedshift.registry import setting

# The default budget of each norm: "linf" in levels of 255, "l2" of values in [0, 1].
EPS = {"linf": (4.0,), "l2": (1.0,)}
Format = Literal["png", "jpeg", "webp"]


@dataclass(frozen=True, kw_only=True)
class AttackConfig:
    """All settings of an attack, under the names of `embedshift.attack` and the command line."""

    images: tuple[str, ...] = setting_of_study("images")
    model: str = setting_of_study("model")
    embedding: str | None = setting_of_study("embedding")
    norm: Literal["linf", "l2"] = setting("linf", "Norm of the budget: linf or l2.")
    eps: tuple[Annotated[float, Gt(0), Le(255)], ...] = setting(
        (), "Budgets, with commas: linf in levels of 255, l2 for values in [0, 1]. Default: 4 (linf), 1 (l2)."
    )
    steps: Annotated[int, Ge(1), Le(10_000)] = setting(50, "Steps of each method, per image and budget.")
    target: str | None = setting(None, "Image to move the embedding towards. Default: away from the original.")
    through: tuple[str, ...] = setting((), "Purifiers known to the attack, such as jpeg:50; adds a folder for each.")
    limit: AtLeast1 | None = setting_of_study("limit")
    sample: AtLeast1 | None = setting_of_study("sample")
    seed: Annotated[int, Ge(0)] = setting_of_study("seed", "Seed of the starting points and of the random signs.")
    size: Annotated[int, Ge(8)] | None = setting_of_study("size")
    resize: Resize = setting_of_study("resize", "How images become square: squash or crop.")
    device: str = setting_of_study("device", "auto, cpu, mps, or a GPU such as cuda:0.")
    image_timeout: Seconds = setting_of_study("image_timeout", "Time limit in seconds to read or decode an image.")


def make_attack_config(given: Mapping[str, Any]) -> AttackConfig:
    config = validated(AttackConfig, given)
    eps = tuple(dict.fromkeys(config.eps)) or EPS[config.norm]
    for budget in eps if config.norm == "linf" else ():
        if budget != int(budget):
            raise UsageError(f"eps {budget:g}: linf counts whole pixel levels; give a whole number from 1 to 255")
    if config.norm == "l2" and min(eps) < 1 / 255:
        raise UsageError(f"eps {min(eps):g}: too small to change a pixel by one level; give l2 at least 1/255")
    return replace(config, eps=eps, through=tuple(dict.fromkeys(config.through)))


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


@dataclass(frozen=True, kw_only=True)
class VectorsConfig:
    """All settings of a study of vectors, under the names of `embedshift.from_vectors` and the command line."""

    ids: str | None = setting(None, "File of the ids of the images, one per line, for the rows of npy files.")
    views: str | None = setting(None, "views.json of `embedshift views`: checks ids, adds families and levels.")
    images: str | None = setting(None, "Where the images are, to show them: as for `run`.")
    model: str = setting(VECTORS, "Name of the encoder: studies with one name count as studies of one encoder.")
    store: Store = setting_of_study("store")
    groups: str | None = setting_of_study("groups")
    seed: int = setting_of_study("seed", "Seed of the order of the images and of all draws.")
    shard_size: AtLeast1 = setting_of_study("shard_size")
