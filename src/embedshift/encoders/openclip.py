"""Loads open_clip encoders: the image tower or the text tower of a model, without the other."""

import json
import logging
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from embedshift.config import Precision
from embedshift.encoders.base import Preprocess
from embedshift.encoders.embeddings import READERS
from embedshift.encoders.families import CLIP_MEAN, CLIP_STD, OPEN_CLIP
from embedshift.encoders.files import triple
from embedshift.encoders.folder import check_folder, local_path
from embedshift.encoders.huggingface import hub_answers
from embedshift.encoders.libraries import RESAMPLE, display_name, library
from embedshift.encoders.module import ModuleEncoder
from embedshift.encoders.text import ModuleTextEncoder
from embedshift.encoders.trust import check_hf_text, check_open_clip, no_remote_code, refusing
from embedshift.errors import EmbedshiftError, UsageError

log = logging.getLogger(__name__)

CONFIG = "open_clip_config.json"
WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)
VISUAL = "visual."


def load_openclip(
    model: str,
    *,
    device: str = "auto",
    precision: Precision = "float32",
    size: int | None = None,
    embedding: str | None = None,
) -> ModuleEncoder:
    chosen = OPEN_CLIP.choose(embedding)
    library("open_clip")
    with refusing(f"open_clip:{model}: cannot be loaded"), no_remote_code(local=_is_offline(model)):
        config, settings, weights = _checkpoint(model)
        visual = _visual(config, weights, size)
        native = int(config["vision_cfg"].get("image_size", 224))
        mean, std = triple(settings.get("mean"), CLIP_MEAN), triple(settings.get("std"), CLIP_STD)
    squash = settings.get("resize_mode") == "squash"
    preprocess = Preprocess(native, mean, std, native, RESAMPLE.get(settings.get("interpolation", ""), 3), squash)
    return ModuleEncoder(
        visual,
        READERS[chosen.reader],
        preprocess.at(size),
        display_name("open_clip", model),
        device=device,
        precision=precision,
        embedding=chosen,
    )


def load_openclip_text(model: str, *, device: str = "auto", precision: Precision = "float32") -> ModuleTextEncoder:
    library("open_clip")
    with refusing(f"open_clip:{model}: its text tower cannot be loaded"), no_remote_code(local=_is_offline(model)):
        config, _, weights = _checkpoint(model)
        check_hf_text(config, f"open_clip:{model}", local=_is_local(model))
        text = _text(config, weights)
        tokenizer = _tokenizer(model, config)
    return ModuleTextEncoder(
        text,
        lambda texts: {"text": tokenizer(texts)},
        lambda module, tokens: READERS["image"](module, tokens["text"]),
        display_name("open_clip", model),
        device=device,
        precision=precision,
    )


def _is_offline(model: str) -> bool:
    return _is_local(model) or not hub_answers()


def _is_local(model: str) -> bool:
    return model.startswith("local-dir:")


def _checkpoint(model: str) -> tuple[dict[str, Any], dict[str, Any], Path]:
    config, settings, weights = _locate(model)
    check_open_clip(config, f"open_clip:{model}")
    if weights.suffix != ".safetensors":
        log.info(
            "open_clip:%s: no safetensors file; its pickle was read as weights only, without running code in it", model
        )
    return config, settings, weights


def _locate(model: str) -> tuple[dict[str, Any], dict[str, Any], Path]:
    open_clip, pretrained = library("open_clip"), library("open_clip.pretrained")
    source, _, location = model.partition(":")
    if source == "local-dir":
        folder = local_path(location)
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder")
        check_folder(folder)
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
        if weights is None:
            raise EmbedshiftError(f"{folder}: no weights found; the folder needs one of {', '.join(WEIGHTS)}")
        return content["model_cfg"], content.get("preprocess_cfg", {}), weights
    if source == "hf-hub":
        content = json.loads(Path(pretrained.download_pretrained_from_hf(location, filename=CONFIG)).read_text())
        return content["model_cfg"], content["preprocess_cfg"], Path(pretrained.download_pretrained_from_hf(location))
    name, _, tag = model.partition("/")
    tags = open_clip.list_pretrained_tags_by_model(name)
    if tag not in tags:
        choices = f"one of {', '.join(tags)}" if tags else "a name and weights from open_clip.list_pretrained()"
        raise UsageError(f"open_clip:{model}: unknown; use open_clip:NAME/WEIGHTS with {choices}")
    settings = open_clip.get_pretrained_cfg(name, tag)
    config = open_clip.get_model_config(name)
    config["quick_gelu"] = config.get("quick_gelu", False) or settings.get("quick_gelu", False)
    return config, settings, Path(pretrained.download_pretrained(settings))


def _visual(config: dict[str, Any], weights: Path, size: int | None) -> nn.Module:
    model = library("open_clip.model")
    vision = config["vision_cfg"] | {"timm_model_pretrained": False}
    built_in = "timm_model_name" not in vision
    if built_in and size is not None:
        vision["image_size"] = size
    visual: nn.Module = model._build_vision_tower(config["embed_dim"], vision, config.get("quick_gelu", False))
    state = _weights(weights)
    model.resize_pos_embed(state, SimpleNamespace(visual=visual))
    visual.load_state_dict({name.removeprefix(VISUAL): value for name, value in state.items()})
    if not built_in and size is not None:
        visual.set_input_size(size)  # type: ignore[operator]
    return visual


def _text(config: dict[str, Any], weights: Path) -> nn.Module:
    """Returns the text tower with its weights; older models store them beside `visual.`, newer ones in `text.`."""
    settings = config["text_cfg"] | {"hf_model_pretrained": False}
    model = library("open_clip.model")
    text: nn.Module = model._build_text_tower(config["embed_dim"], settings, config.get("quick_gelu", False))
    state = {name.removeprefix("text."): value for name, value in _weights(weights, visual=False).items()}
    text.load_state_dict({name: state[name] for name in text.state_dict() if name in state})
    return text


def _tokenizer(model: str, config: dict[str, Any]) -> Any:
    """Returns open_clip's tokenizer for a model; no configuration can make it run a checkpoint's code."""
    source, _, location = model.partition(":")
    name = model if source == "hf-hub" else model.partition("/")[0]
    name = f"{source}:{local_path(location)}" if _is_local(model) else name
    # Only transformers' tokenizers take it; the caller's value wins over the configuration's.
    trust = {"trust_remote_code": False} if config["text_cfg"].get("hf_tokenizer_name") else {}
    return library("open_clip").get_tokenizer(name, **trust)


def _weights(file: Path, *, visual: bool = True) -> dict[str, Tensor]:
    """Reads the tensors of a file whose names begin with `visual.`, or the others; a pickle is read as weights only."""
    if file.suffix == ".safetensors":
        with safe_open(file, framework="pt") as tensors:
            names = [name for name in tensors.keys() if name.startswith(VISUAL) == visual]  # noqa: SIM118
            return {name: tensors.get_tensor(name) for name in names}
    content = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    content = {name.removeprefix("module."): value for name, value in content.get("state_dict", content).items()}
    return {name: value for name, value in content.items() if name.startswith(VISUAL) == visual}
