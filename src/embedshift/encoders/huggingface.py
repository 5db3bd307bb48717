"""Encoders from the Hugging Face Hub or a local folder, through the table of `families.py`."""

import contextlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import huggingface_hub
import torch
import transformers
from torch import Tensor, nn
from transformers.utils.hub import cached_file

from embedshift.encoders.base import Precision, Preprocess
from embedshift.encoders.families import BY_MODEL_TYPE, FAMILIES, Family
from embedshift.encoders.module import Embed, ModuleEncoder
from embedshift.errors import EmbedshiftError, reason

log = logging.getLogger(__name__)

# A model whose weights are only a pickle would be sent to a conversion service on the Hub in the background.
os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")

HUB_SECONDS = 8


def load_huggingface(
    model: str,
    *,
    name: str | None = None,
    device: str = "auto",
    precision: Precision = "float32",
    size: int | None = None,
) -> ModuleEncoder:
    """Loads the vision part of a checkpoint: a Hub id, or a local folder as `save_pretrained` writes it.

    Weights are read from safetensors where there are any, else from `pytorch_model.bin` by `weights_only`; a full
    unpickle and code from the Hub are never run. Without the Hub, what an earlier run downloaded is used.

    Args:
        model: Hub id or folder.
        name: What tables and reports call it; by default the id, or the folder's name.
        device: As `ModuleEncoder`.
        precision: As `ModuleEncoder`.
        size: Input size in pixels; by default the checkpoint's own. Position embeddings are interpolated.

    Returns:
        The encoder.

    Raises:
        EmbedshiftError: with one line when the model cannot be found, downloaded or trusted, when its family is not
            known, or when weights are missing (they would be filled at random).
    """
    folder = Path(model).expanduser()
    local = folder.is_dir()
    source = str(folder) if local else model
    offline = not local and not _hub_has(model)
    config = _config(source, model, offline)
    family = BY_MODEL_TYPE.get(config.model_type)
    if family is None:
        known = ", ".join(t for f in FAMILIES for t in f.model_types)
        raise EmbedshiftError(f"{model}: its type {config.model_type!r} is not supported. Supported: {known}")
    module = _module(source, model, family, config, offline)
    preprocess = _preprocess(source, family, config, offline).at(size)
    return ModuleEncoder(
        module,
        EMBEDDINGS[family.embedding],
        preprocess,
        name or (folder.resolve().name if local else model),
        device=device,
        precision=precision,
        revision=getattr(config, "_commit_hash", None),
    )


def _image_features(module: nn.Module, pixels: Tensor) -> Tensor:
    output = cast(Any, module).get_image_features(pixel_values=pixels, interpolate_pos_encoding=True)
    return cast(Tensor, output if isinstance(output, Tensor) else output.pooler_output)


def _image_embeds(module: nn.Module, pixels: Tensor) -> Tensor:
    return cast(Tensor, module(pixel_values=pixels, interpolate_pos_encoding=True).image_embeds)


def _cls(module: nn.Module, pixels: Tensor) -> Tensor:
    return cast(Tensor, module(pixel_values=pixels, interpolate_pos_encoding=True).last_hidden_state[:, 0])


EMBEDDINGS: dict[str, Embed] = {"image_features": _image_features, "image_embeds": _image_embeds, "cls": _cls}


def _hub_has(model: str) -> bool:
    """Whether the Hub answers for this model; False = use the local cache. Asked once and briefly, not file by file."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}:
        return False
    try:
        huggingface_hub.HfApi().model_info(model, timeout=HUB_SECONDS)
    except (huggingface_hub.errors.RepositoryNotFoundError, huggingface_hub.errors.HFValidationError) as error:
        raise EmbedshiftError(
            f"{model}: neither a folder here nor a model that the Hugging Face Hub shows; check the name, or log in "
            "for a gated model"
        ) from error
    except Exception as error:
        log.info("the Hugging Face Hub does not answer (%s): looking in the local cache", reason(error))
        return False
    return True


def _config(source: str, model: str, offline: bool) -> transformers.PretrainedConfig:
    with _quiet():
        try:
            config: transformers.PretrainedConfig = transformers.AutoConfig.from_pretrained(
                source, local_files_only=offline
            )
            return config
        except Exception as error:
            if offline:
                raise EmbedshiftError(
                    f"{model}: the Hugging Face Hub cannot be reached and the model is not in the local cache. Give a "
                    "local folder with the model, or use the bundled encoder: --model dinov2-small-offline"
                ) from error
            raise EmbedshiftError(f"{model}: no usable config.json ({_first_line(error)})") from error


def _module(source: str, model: str, family: Family, config: transformers.PretrainedConfig, offline: bool) -> nn.Module:
    loader = _without(getattr(transformers, family.loader), family.drop)
    with _quiet():
        try:
            module, info = loader.from_pretrained(
                source,
                config=config,
                dtype=torch.float32,
                output_loading_info=True,
                local_files_only=offline,
                trust_remote_code=False,
                weights_only=True,
                **family.options,
            )
        except Exception as error:
            raise EmbedshiftError(f"{model}: its weights cannot be loaded ({_first_line(error)})") from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise EmbedshiftError(
            f"{model}: {len(missing)} weights of {family.title} are missing from the checkpoint ({missing[0]}, …) and "
            "would be filled at random: give a complete checkpoint"
        )
    return cast(nn.Module, module)


def _without(loader: type[Any], drop: tuple[str, ...]) -> type[Any]:
    """A class of transformers without the children that see no picture, so that they are never put into memory."""
    if not drop:
        return loader

    def init(self: Any, config: Any, *args: Any, **kwargs: Any) -> None:
        loader.__init__(self, config, *args, **kwargs)
        for name in drop:
            delattr(self, name)

    return type(loader.__name__, (loader,), {"__init__": init, "__module__": loader.__module__})


def _preprocess(source: str, family: Family, config: transformers.PretrainedConfig, offline: bool) -> Preprocess:
    """Size, mean and std as the checkpoint's preprocessor_config.json has them, else its config and its family."""
    found: dict[str, Any] = {}
    for file in ("processor_config.json", "preprocessor_config.json"):
        path = cached_file(
            source, file, local_files_only=offline, _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )  # fmt: skip
        if path is not None:
            content = json.loads(Path(path).read_text())
            found = content.get("image_processor", content)
    size = _side(found.get("size"))
    crop = _side(found.get("crop_size")) if found.get("do_center_crop", True) else None
    native = crop or size or _side(getattr(getattr(config, "vision_config", config), "image_size", None))
    if native is None:
        raise EmbedshiftError(
            f"{source}: neither preprocessor_config.json nor config.json tells the input size; give --size"
        )
    mean, std = (
        _triple(found.get(key), default) for key, default in (("image_mean", family.mean), ("image_std", family.std))
    )
    return Preprocess(native, mean, std, size, int(found.get("resample", 3)))


def _side(size: Any) -> int | None:
    if isinstance(size, dict):
        size = size.get("shortest_edge") or size.get("height")
    if isinstance(size, list | tuple):
        size = size[0]
    return None if size is None else int(size)


def _triple(values: Any, default: tuple[float, float, float]) -> tuple[float, float, float]:
    if values is None:
        return default
    red, green, blue = (float(v) for v in values)
    return red, green, blue


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps transformers' own reports and bars from standing between the lines of ours."""
    logging_of: Any = transformers.utils.logging
    level, bar = logging_of.get_verbosity(), logging_of.is_progress_bar_enabled()
    show: Callable[[], None] = logging_of.enable_progress_bar
    logging_of.set_verbosity_error()
    logging_of.disable_progress_bar()
    try:
        yield
    finally:
        logging_of.set_verbosity(level)
        if bar:
            show()


def _first_line(error: Exception) -> str:
    return reason(error)[:300]
