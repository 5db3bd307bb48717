"""Loads encoders of transformers, by the table of `families.py`: files, preprocessing, and readers of embeddings."""

import contextlib
import functools
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import huggingface_hub
import numpy as np
import torch
import transformers
from PIL import Image
from torch import Tensor, nn
from transformers.utils.hub import cached_file

from embedshift.config import BUNDLED, Triple
from embedshift.encoders.base import LARGEST, Preprocess
from embedshift.encoders.families import MODEL_TYPES, EncoderFamily, family_of
from embedshift.encoders.folder import check_folder, local_path, no_such_folder
from embedshift.encoders.module import ModuleEncoder
from embedshift.encoders.trust import (
    INDEXES,
    check_config,
    check_index,
    log_pickle,
    no_remote_code,
    refuse_missing,
    short_reason,
)
from embedshift.errors import EmbedshiftError, UsageError, reason

log = logging.getLogger(__name__)

# transformers would send a model with only pickled weights to a conversion service on the Hub.
os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")

HUB_SECONDS = 5
# Keys of config.json that change no number.
NO_SETTINGS = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures")
SAFETENSORS = ("model.safetensors", "model.safetensors.index.json")


def load_huggingface(
    model: str, *, name: str | None = None, size: int | None = None, embedding: str | None = None, **settings: Any
) -> ModuleEncoder:
    checkpoint = find_checkpoint(model)
    chosen = checkpoint.family.choose(embedding)
    module = load_module(checkpoint, checkpoint.family.loader, checkpoint.family.drop + chosen.drop)
    return ModuleEncoder(
        module,
        functools.partial(read, chosen.reader),
        _preprocess(checkpoint).at(size),
        name or checkpoint.name,
        tower=tower(module),
        embedding=chosen,
        revision=getattr(checkpoint.config, "_commit_hash", None),
        configuration=settings_of(json.loads(checkpoint.config.to_json_string(use_diff=True))),
        **settings,
    )


@dataclass(frozen=True)
class Checkpoint:
    model: str
    name: str
    source: str
    family: EncoderFamily
    config: transformers.PretrainedConfig
    offline: bool

    @property
    def local(self) -> bool:
        return Path(self.source).is_dir()

    def file(self, name: str) -> Path | None:
        path = cached_file(
            self.source, name, local_files_only=self.offline, _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )  # fmt: skip
        return None if path is None else Path(path)


def find_checkpoint(model: str) -> Checkpoint:
    folder = local_path(model)
    local = folder.is_dir()
    if local:
        check_folder(folder)
    source = str(folder) if local else model
    offline = not local and not _hub_has(model)
    family, config = _config(source, model, offline)
    return Checkpoint(model, folder.resolve().name if local else model, source, family, config, offline)


def settings_of(config: Any) -> Any:
    if not isinstance(config, dict):
        return config
    return {key: settings_of(config[key]) for key in sorted(config) if key not in NO_SETTINGS}


def hub_answers() -> bool:
    """Returns whether the Hub answers, asked once; its client would ask six times per file."""
    try:
        huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=HUB_SECONDS)
    except Exception:
        return False
    return True


def _hub_has(model: str) -> bool:
    """Returns whether the Hub answers for this model, asked once; False = use the local cache."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}:
        return False
    try:
        huggingface_hub.HfApi().model_info(model, timeout=HUB_SECONDS)
    except (huggingface_hub.errors.RepositoryNotFoundError, huggingface_hub.errors.HFValidationError) as error:
        raise EmbedshiftError(
            f"{no_such_folder(model)}, and no accessible model on the Hugging Face Hub; check the name, or "
            "log in for a gated model"
        ) from error
    except Exception as error:
        words = "%s, and the Hugging Face Hub does not answer (%s); using the local cache"
        log.info(words, no_such_folder(model), reason(error))
        return False
    return True


def _config(source: str, model: str, offline: bool) -> tuple[EncoderFamily, transformers.PretrainedConfig]:
    with quiet(), no_remote_code(local=Path(source).is_dir()):
        try:
            # Checked first: for an unknown type, transformers would ask to run the checkpoint's own code.
            content, _ = transformers.PretrainedConfig.get_config_dict(source, local_files_only=offline)
            kind, supported = content["model_type"], ", ".join(MODEL_TYPES)
            family = family_of(kind, content.get("architectures"))
            if family is None:
                raise EmbedshiftError(f"{model}: its type {kind!r} is not supported. Supported: {supported}")
            config: transformers.PretrainedConfig = transformers.AutoConfig.from_pretrained(
                source, local_files_only=offline, trust_remote_code=False
            )
            check_config(config, model)
            return family, config
        except EmbedshiftError:
            raise
        except Exception as error:
            if offline:
                raise EmbedshiftError(
                    f"{no_such_folder(model)}, and not in the local cache of the Hugging Face Hub, which cannot be "
                    f"reached. Give a local folder with the model, or use the bundled encoder: `model` {BUNDLED}"
                ) from error
            words = "it has no model_type" if isinstance(error, KeyError) else short_reason(error)
            hint = f". For timm or open_clip use timm:hf-hub:{model} or open_clip:hf-hub:{model}"
            raise EmbedshiftError(
                f"{model}: no usable config.json ({words}){'' if Path(source).is_dir() else hint}"
            ) from error


def load_module(checkpoint: Checkpoint, class_name: str, drop: tuple[str, ...]) -> nn.Module:
    model, family = checkpoint.model, checkpoint.family
    loader = _class_without(getattr(transformers, class_name), drop)
    for name in INDEXES:
        check_index(checkpoint.file(name), model)
    if checkpoint.file("adapter_config.json"):
        raise EmbedshiftError(f"{model}: the folder also contains an adapter; merge it into the weights or remove it")
    with quiet(), no_remote_code(local=checkpoint.local):
        try:
            module, info = loader.from_pretrained(
                checkpoint.source,
                config=checkpoint.config,
                dtype=torch.float32,
                output_loading_info=True,
                local_files_only=checkpoint.offline,
                trust_remote_code=False,
                weights_only=True,
                **(family.options if class_name == family.loader else {}),
            )
        except Exception as error:
            raise EmbedshiftError(f"{model}: its weights cannot be loaded ({short_reason(error)})") from error
    refuse_missing(info["missing_keys"], model, family.title)
    if not any(checkpoint.file(name) for name in SAFETENSORS):
        log_pickle(model)
    return cast(nn.Module, module)


def _class_without(loader: type[Any], drop: tuple[str, ...]) -> type[Any]:
    """Returns a transformers class without the children that see no image, to save memory."""
    if not drop:
        return loader

    def init(self: Any, config: Any, *args: Any, **kwargs: Any) -> None:
        loader.__init__(self, config, *args, **kwargs)
        for name in drop:
            if hasattr(self, name):  # some are optional in a config
                delattr(self, name)

    return type(loader.__name__, (loader,), {"__init__": init, "__module__": loader.__module__})


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    hf_logging: Any = transformers.utils.logging
    level, bar = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    show: Callable[[], None] = hf_logging.enable_progress_bar
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if bar:
            show()


def _preprocess(checkpoint: Checkpoint) -> Preprocess:
    settings = _json(checkpoint.file("processor_config.json")).get("image_processor")
    if settings is None:
        settings = _json(checkpoint.file("preprocessor_config.json"))
    vision = getattr(checkpoint.config, "vision_config", checkpoint.config)
    return preprocess_from(settings, checkpoint.source, checkpoint.family.stats, lambda: _native(vision))


def preprocess_from(
    settings: Mapping[str, Any], source: str, stats: tuple[Triple, Triple], native_side: Callable[[], int | None]
) -> Preprocess:
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


def _json(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise EmbedshiftError(f"{path}: not a JSON object ({reason(error)})") from error
    if not isinstance(content, dict):
        raise EmbedshiftError(f"{path}: not a JSON object (it is a {type(content).__name__})")
    return content


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


def tower(module: Any) -> Any:
    return getattr(module, "vision_model", module)


def inputs(module: nn.Module, pixels: Tensor) -> dict[str, Any]:
    embedding = getattr(getattr(tower(module), "embeddings", None), "patch_embedding", None)
    if not isinstance(embedding, nn.Linear):
        return {"pixel_values": pixels, "interpolate_pos_encoding": True}
    side = int((embedding.in_features // pixels.shape[1]) ** 0.5)
    if pixels.shape[-1] % side:
        raise UsageError(
            f"size {pixels.shape[-1]} is not a multiple of its patch of {side} pixels; choose another `size`"
        )
    grid = pixels.shape[-1] // side
    patches = pixels.reshape(len(pixels), -1, grid, side, grid, side).permute(0, 2, 4, 3, 5, 1)
    return {
        "pixel_values": patches.reshape(len(pixels), grid * grid, -1),
        "pixel_attention_mask": torch.ones(len(pixels), grid * grid, dtype=torch.long, device=pixels.device),
        "spatial_shapes": torch.full((len(pixels), 2), grid, device=pixels.device),
    }


def _image(module: Any, pixels: Tensor) -> Any:
    output = module(pixels)
    return output[0] if isinstance(output, tuple) else output


def _image_features(module: Any, pixels: Tensor) -> Any:
    return module.get_image_features(**inputs(module, pixels)).pooler_output


def _tokens(module: Any, pixels: Tensor) -> Any:
    return tower(module)(**inputs(module, pixels)).last_hidden_state


def _query_states(module: Any, pixels: Tensor) -> Any:
    tokens = _tokens(module, pixels)
    queries = module.query_tokens.expand(len(tokens), -1, -1)
    return module.qformer(query_embeds=queries, encoder_hidden_states=tokens).last_hidden_state


def _connected_masked(module: Any, pixels: Tensor) -> Any:
    tokens = _tokens(module, pixels)
    mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
    return module.connector(tokens, attention_mask=mask).mean(dim=1)


def read(reader: str, module: Any, pixels: Tensor) -> Any:
    return READERS[reader](module, pixels)  # by name, so that an encoder can be pickled


READERS: dict[str, Callable[[Any, Tensor], Any]] = {
    "cls": lambda module, pixels: _tokens(module, pixels)[:, 0],
    "connected": lambda module, pixels: module.connector(_tokens(module, pixels)).mean(dim=1),
    "connected_masked": _connected_masked,
    "image": _image,
    "image_embeds": lambda module, pixels: module(**inputs(module, pixels)).image_embeds,
    "image_features": _image_features,
    "image_tokens": lambda module, pixels: _image_features(module, pixels).mean(dim=1),
    "mean": lambda module, pixels: _tokens(module, pixels).mean(dim=1),
    "pooled": lambda module, pixels: tower(module)(**inputs(module, pixels)).pooler_output,
    "projected_queries": lambda module, pixels: module.vision_projection(_query_states(module, pixels)).mean(dim=1),
    "queries": lambda module, pixels: _query_states(module, pixels).mean(dim=1),
    "resampled": lambda module, pixels: module.perceiver_resampler(_tokens(module, pixels)).mean(dim=1),
    "vision_proj": lambda module, pixels: module.vision_proj(_tokens(module, pixels)[:, 0]),
}
