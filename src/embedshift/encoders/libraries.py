"""Loads encoders of open_clip (image or text tower alone) and of timm (without the classifier)."""

import difflib
import functools
import importlib
import json
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from embedshift.encoders.base import Preprocess
from embedshift.encoders.families import CLIP_MEAN, CLIP_STD, OPEN_CLIP, TIMM, Embedding
from embedshift.encoders.folder import check_folder, local_path
from embedshift.encoders.huggingface import READERS, hub_answers, read, triple
from embedshift.encoders.module import ModuleEncoder
from embedshift.encoders.text import ModuleTextEncoder
from embedshift.encoders.trust import check_hf_text, check_open_clip, check_timm, log_pickle, no_remote_code, refusing
from embedshift.errors import EmbedshiftError, MissingExtra, UsageError

# Names of filters → Pillow's numbers.
RESAMPLE = {"bilinear": 2, "bicubic": 3}
# Prefixes of a local folder in open_clip and in timm, and of a model of the Hub.
LOCAL, HUB = "local-dir:", "hf-hub:"


def library(name: str, extra: str = "openclip") -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtra(f"a model of {name}", extra) from error


def display_name(library: str, model: str) -> str:
    folder = _folder(model)
    return f"{library}:{model}" if folder is None else folder.resolve().name


def _folder(model: str) -> Path | None:
    return local_path(model.removeprefix(LOCAL)) if model.startswith(LOCAL) else None


def _is_offline(model: str) -> bool:
    return _folder(model) is not None or not hub_answers()


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
    model: str, *, size: int | None = None, embedding: str | None = None, **settings: Any
) -> ModuleEncoder:
    chosen = OPEN_CLIP.choose(embedding)
    library("open_clip")
    with refusing(f"open_clip:{model}: cannot be loaded"), no_remote_code(local=_is_offline(model)):
        config, pixels, weights = _checkpoint(model)
        visual = _visual(config, weights, size)
        native = int(config["vision_cfg"].get("image_size", 224))
        mean, std = triple(pixels.get("mean"), CLIP_MEAN), triple(pixels.get("std"), CLIP_STD)
    squash = pixels.get("resize_mode") == "squash"
    preprocess = Preprocess(native, mean, std, native, RESAMPLE.get(pixels.get("interpolation", ""), 3), squash)
    return _encoder(visual, chosen, preprocess.at(size), display_name("open_clip", model), settings)


def _encoder(module: nn.Module, chosen: Embedding, preprocess: Preprocess, name: str, settings: Any) -> ModuleEncoder:
    reader = functools.partial(read, chosen.reader)
    return ModuleEncoder(module, reader, preprocess, name, embedding=chosen, **settings)


def load_openclip_text(model: str, **settings: Any) -> ModuleTextEncoder:
    library("open_clip")
    with refusing(f"open_clip:{model}: its text tower cannot be loaded"), no_remote_code(local=_is_offline(model)):
        config, _, weights = _checkpoint(model)
        check_hf_text(config, f"open_clip:{model}", local=_folder(model) is not None)
        text = _text(config, weights)
        tokenizer = _tokenizer(model, config)
    return ModuleTextEncoder(
        text,
        lambda texts: {"text": tokenizer(texts)},
        lambda module, tokens: READERS["image"](module, tokens["text"]),
        display_name("open_clip", model),
        **settings,
    )


def _checkpoint(model: str) -> tuple[dict[str, Any], dict[str, Any], Path]:
    config, settings, weights = _locate(model)
    check_open_clip(config, f"open_clip:{model}")
    if weights.suffix != ".safetensors":
        log_pickle(f"open_clip:{model}")
    return config, settings, weights


def _locate(model: str) -> tuple[dict[str, Any], dict[str, Any], Path]:
    open_clip, pretrained = library("open_clip"), library("open_clip.pretrained")
    if folder := _folder(model):
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder")
        check_folder(folder)
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
        if weights is None:
            raise EmbedshiftError(f"{folder}: no weights found; the folder needs one of {', '.join(WEIGHTS)}")
        return content["model_cfg"], content.get("preprocess_cfg", {}), weights
    if model.startswith(HUB):
        location = model.removeprefix(HUB)
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
    folder, name = _folder(model), model if model.startswith(HUB) else model.partition("/")[0]
    name = f"{LOCAL}{folder}" if folder else name
    # Only transformers' tokenizers take it; the caller's value overrides the configuration's.
    trust = {"trust_remote_code": False} if config["text_cfg"].get("hf_tokenizer_name") else {}
    return library("open_clip").get_tokenizer(name, **trust)


def _weights(file: Path, *, visual: bool = True) -> dict[str, Tensor]:
    """Reads the tensors whose names begin with `visual.`, or the others; a pickle is read as weights only."""
    if file.suffix == ".safetensors":
        with safe_open(file, framework="pt") as tensors:
            names = [name for name in tensors.keys() if name.startswith(VISUAL) == visual]  # noqa: SIM118
            return {name: tensors.get_tensor(name) for name in names}
    content = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    content = {name.removeprefix("module."): value for name, value in content.get("state_dict", content).items()}
    return {name: value for name, value in content.items() if name.startswith(VISUAL) == visual}


def load_timm(model: str, *, size: int | None = None, embedding: str | None = None, **settings: Any) -> ModuleEncoder:
    chosen = TIMM.choose(embedding)
    timm = library("timm")
    with refusing(f"timm:{model}: cannot be loaded"):
        module = _create(timm, model, size)
        data = timm.data.resolve_model_data_config(module)
    native, squash = int(data["input_size"][-1]), data.get("crop_mode") == "squash"
    mean, std, shortest = tuple(data["mean"]), tuple(data["std"]), int(native / data["crop_pct"])
    preprocess = Preprocess(native, mean, std, shortest, RESAMPLE.get(data["interpolation"], 3), squash)
    return _encoder(module, chosen, preprocess.at(size), display_name("timm", model), settings)


def _create(timm: Any, model: str, size: int | None) -> Any:
    if folder := _folder(model):
        if not folder.is_dir():
            raise UsageError(f"{model.removeprefix(LOCAL)}: no such folder")
        check_folder(folder)
        check_timm(folder)
    elif not model.startswith(HUB) and not timm.is_model(model.split(".")[0]):
        nearest = difflib.get_close_matches(model.split(".")[0], timm.list_models(), n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else "; timm.list_models() has them all"
        raise UsageError(f"unknown model of timm {model!r}{hint}")
    name = f"{LOCAL}{folder}" if folder else model
    with no_remote_code(local=_is_offline(model)):
        try:
            module = timm.create_model(name, pretrained=True, img_size=size)
        except TypeError as error:
            if "img_size" not in str(error):
                raise
            module = timm.create_model(name, pretrained=True)  # convolutions take any size
    if folder and not any(folder.glob("*.safetensors")):
        log_pickle(f"timm:{model}")
    module.reset_classifier(0)
    return module
