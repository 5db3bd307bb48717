"""The files of a transformers checkpoint: their places, and the preprocessing that they describe."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from PIL import Image
from transformers.utils.hub import cached_file

from embedshift.encoders.base import LARGEST, Preprocess
from embedshift.encoders.families import Family, Triple
from embedshift.errors import EmbedshiftError, reason


def read_preprocess(source: str, family: Family, config: transformers.PretrainedConfig, offline: bool) -> Preprocess:
    """Reads size, mean and std from the checkpoint's preprocessor_config.json, else from its config and its family."""
    settings = _json(source, "processor_config.json", offline).get("image_processor")
    if settings is None:
        settings = _json(source, "preprocessor_config.json", offline)
    return preprocess_from(settings, source, family.stats, lambda: _native(getattr(config, "vision_config", config)))


def preprocess_from(
    settings: Mapping[str, Any], source: str, stats: tuple[Triple, Triple], native_side: Callable[[], int | None]
) -> Preprocess:
    """Makes the preprocessing of a preprocessor_config.json, which may leave out mean, std and the input size."""
    try:
        size = _side(settings.get("size"))
        crop = _side(settings.get("crop_size")) if settings.get("do_center_crop", True) else None
        native = crop or size or native_side()
        mean, std = (
            triple(settings.get(key), default) for key, default in zip(("image_mean", "image_std"), stats, strict=True)
        )
        if min(std) <= 0 or not np.isfinite([*mean, *std]).all():
            raise ValueError(f"mean {mean}, std {std}")
        factor = settings.get("rescale_factor")
        if settings.get("do_rescale") is False or not (factor is None or abs(255 * float(factor) - 1) < 1e-3):
            raise ValueError(f"pixels are not scaled by 1/255: do_rescale {settings.get('do_rescale')}, by {factor}")
        resample = Image.Resampling(int(settings.get("resample") or 3))
    except Exception as error:
        raise EmbedshiftError(f"{source}: its preprocessor_config.json is not valid ({reason(error)[:300]})") from error
    if native is None:
        raise EmbedshiftError(
            f"{source}: neither preprocessor_config.json nor config.json contains the input size; set `size`"
        )
    by_side = isinstance(settings.get("size"), dict) and "shortest_edge" in settings["size"]
    squash = size is not None and crop is None and not by_side
    return Preprocess(native, mean, std, size, resample.value, squash)


def _native(config: Any) -> int | None:
    if hasattr(config, "image_size") or not hasattr(config, "num_patches"):
        return _side(getattr(config, "image_size", None))
    return _side(config.patch_size * config.num_patches**0.5)


def _json(source: str, name: str, offline: bool) -> dict[str, Any]:
    path = checkpoint_file(source, name, offline)
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise EmbedshiftError(f"{path}: not a JSON object ({reason(error)})") from error
    if not isinstance(content, dict):
        raise EmbedshiftError(f"{path}: not a JSON object (it is a {type(content).__name__})")
    return content


def checkpoint_file(source: str, name: str, offline: bool) -> Path | None:
    """Returns one file of a checkpoint, from the folder, the cache or the Hub; None if it does not exist."""
    path = cached_file(
        source, name, local_files_only=offline, _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )  # fmt: skip
    return None if path is None else Path(path)


def _side(size: Any) -> int | None:
    if isinstance(size, dict):
        size = size.get("shortest_edge") or size.get("height")
    if isinstance(size, list | tuple):
        size = size[0]
    if size is None:
        return None
    if not 1 <= int(size) <= LARGEST:
        raise ValueError(f"a side of {size} pixels")
    return int(size)


def triple(values: Any, default: Triple) -> Triple:
    if values is None:
        return default
    red, green, blue = (float(v) for v in values)
    return red, green, blue
