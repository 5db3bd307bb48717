"""Checks that a checkpoint contains only numbers and chooses no code, other files or network access."""

import contextlib
import json
import logging
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import transformers

from embedshift.encoders.folder import VOCABULARIES
from embedshift.errors import EmbedshiftError, reason

log = logging.getLogger(__name__)

# Classes of sentence-transformers that name no further code, as in modules.json.
SENTENCE_MODULES = ("clipmodel", "normalize", "pooling", "transformer")
INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
# Forbidden settings: kernels of the Hub, other weights, other models.
ELSEWHERE = ("attn_implementation", "_attn_implementation", "transformers_weights")
OTHER_MODELS = ("model_name_or_path", "tokenizer_name_or_path", "base_model_name_or_path", "cache_dir", "gguf_file")
# Methods of a model that its settings may name: those that encode.
ENCODES = re.compile(r"forward|get_\w+_features")
MOST_MODULES = 64
# Maximum number of layers: creating millions takes hours before missing weights are noticed.
MOST_LAYERS = 1000
# Keywords of open_clip's text cleaning; others reach transformers, or name files.
TOKENIZER_KEYS = {"clean", "strip_sep_token", "language", "reduction_mask", "additional_special_tokens"}


@contextlib.contextmanager
def no_remote_code(*, local: bool) -> Iterator[None]:
    # transformers asks on the terminal to run code unless `trust_remote_code` is passed.
    dynamic_modules: Any = transformers.dynamic_module_utils
    hub: Any = huggingface_hub.constants
    seconds, offline = dynamic_modules.TIME_OUT_REMOTE_CODE, hub.HF_HUB_OFFLINE
    dynamic_modules.TIME_OUT_REMOTE_CODE, hub.HF_HUB_OFFLINE = 0, offline or local
    try:
        yield
    finally:
        dynamic_modules.TIME_OUT_REMOTE_CODE, hub.HF_HUB_OFFLINE = seconds, offline


def check_config(config: transformers.PretrainedConfig, model: str) -> None:
    """Removes settings that choose kernels or weight files from a configuration; refuses one that needs other code."""
    parts = [config, *(getattr(config, name, None) for name in config.sub_configs)]
    if any(getattr(part, "quantization_config", None) for part in parts):
        raise EmbedshiftError(f"{model}: its weights are quantized; give a checkpoint with full-precision weights")
    for part in parts:
        refuse_layers(getattr(part, "num_hidden_layers", None), model)
    settable: Any = config
    settable._attn_implementation = None  # also for its parts
    settable.transformers_weights = None


def refuse_layers(count: Any, model: str) -> None:
    if isinstance(count, int) and count > MOST_LAYERS:
        raise EmbedshiftError(f"{model}: its configuration names {count:,} layers; refused")


def check_index(file: Path | None, model: str) -> None:
    if file is None:
        return
    try:
        names = set(json.loads(file.read_text(encoding="utf-8"))["weight_map"].values())
        outside = [name for name in names if Path(name).name != name]
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise EmbedshiftError(
            f"{model}: its weights cannot be loaded ({file.name} is not an index of weights)"
        ) from error
    if outside:
        raise EmbedshiftError(f"{model}: {file.name} names weights outside its folder ({outside[0]}); refused")


def check_open_clip(config: dict[str, Any], model: str) -> None:
    vision, text = config.get("vision_cfg") or {}, config.get("text_cfg") or {}
    name = vision.get("timm_model_name")
    if name is not None and (not isinstance(name, str) or set(name) & set(":/\\")):
        raise EmbedshiftError(f"{model}: its timm_model_name {name!r} is a path or URL, not a timm model name; refused")
    for key in text.get("tokenizer_kwargs") or {}:
        if key not in TOKENIZER_KEYS:
            raise EmbedshiftError(f"{model}: its configuration sets {key!r} for the tokenizer; refused")
    name = text.get("hf_model_name")
    if name is not None and (not isinstance(name, str) or Path(name).is_absolute() or ".." in Path(name).parts):
        raise EmbedshiftError(f"{model}: its hf_model_name {name!r} is a path or URL, not a model name; refused")


def check_hf_text(config: dict[str, Any], model: str, *, local: bool) -> None:
    """Refuses a text tower with another model's layout, if that model has its own code or needs the network."""
    name = (config.get("text_cfg") or {}).get("hf_model_name")
    if name is None:
        return
    try:
        transformers.AutoConfig.from_pretrained(name, local_files_only=local, trust_remote_code=False)
    except Exception as error:
        words = (
            "a local model does not use the network; download its config.json first" if local else "it is not usable"
        )
        raise EmbedshiftError(f"{model}: its text tower needs the configuration of {name!r}: {words}") from error


def check_sentence_transformer(folder: Path) -> None:
    """Refuses a folder whose modules.json or settings name code, models or files outside."""
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    if len(modules) > MOST_MODULES:
        raise EmbedshiftError(f"{folder}: its modules.json names {len(modules):,} modules; refused")
    for module in modules:
        kind, path = str(module["type"]), str(module.get("path", ""))
        last = kind.rpartition(".")[2].replace("_", "").lower()
        if not kind.startswith("sentence_transformers.") or last not in SENTENCE_MODULES:
            raise EmbedshiftError(f"{folder}: its modules.json names the class {kind}; refused")
        if Path(path).name != path or path == "..":
            raise EmbedshiftError(f"{folder}: its modules.json names files outside its folder ({path}); refused")
        if (folder / path).is_symlink():  # its target is not checked
            raise EmbedshiftError(f"{folder / path}: a link to a folder; put the folder itself there")
        for name in INDEXES:
            index = folder / path / name
            check_index(index if index.is_file() else None, str(folder))
    for file in sorted(path for path in folder.rglob("*.json") if path.name not in VOCABULARIES):
        for key, value in settings_in(json.loads(file.read_text(encoding="utf-8"))):
            if key == "num_hidden_layers":
                refuse_layers(value, str(file))
            elsewhere = (key in ELSEWHERE and "/" in str(value)) or (key in OTHER_MODELS and value)
            code = (key == "trust_remote_code" and value) or (key == "method" and not ENCODES.fullmatch(str(value)))
            if elsewhere or code:
                raise EmbedshiftError(f"{file}: names {key} {value!r}; refused")


def settings_in(content: Any) -> Iterator[tuple[str, Any]]:
    """Yields the names and values of JSON at any depth."""
    if isinstance(content, dict):
        yield from content.items()
    for part in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from settings_in(part)


def check_timm(folder: Path) -> None:
    """Refuses a timm folder whose configuration allows random weights."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model_args = config.get("model_args") or {}
    classes = config.get("num_classes", config.get("pretrained_cfg", {}).get("num_classes"))
    # This word makes timm load loosely, as do different classes of model and weights.
    if "pretrained_strict" in model_args or model_args.get("num_classes", classes) != classes:
        raise EmbedshiftError(f"{folder}: its model_args would create random weights; refused")


@contextlib.contextmanager
def whole_weights(model: str) -> Iterator[None]:
    """Context in which an incomplete checkpoint of transformers is refused instead of filled at random."""
    loader: Any = transformers.PreTrainedModel
    real = loader.__dict__["from_pretrained"]

    def from_pretrained(kind: type[Any], *given: Any, **settings: Any) -> Any:
        module, info = real.__func__(kind, *given, **settings, output_loading_info=True)
        refuse_missing(info["missing_keys"], model, kind.__name__)
        return module

    loader.from_pretrained = classmethod(from_pretrained)
    try:
        yield
    finally:
        loader.from_pretrained = real


def refuse_missing(names: Collection[str], model: str, kind: str) -> None:
    if names:
        raise EmbedshiftError(
            f"{model}: {len(names)} weights of {kind} are missing from the checkpoint ({min(names)}, …) and would be "
            "random; give a complete checkpoint"
        )


def log_pickle(model: str) -> None:
    log.info("%s: no safetensors file; its pickle was read as weights only, without running code in it", model)


@contextlib.contextmanager
def refusing(words: str) -> Iterator[None]:
    try:
        yield
    except EmbedshiftError:
        raise
    except BaseException as error:
        # Errors of libraries in Rust are no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise EmbedshiftError(f"{words} ({short_reason(error)})") from error


def short_reason(error: BaseException) -> str:
    """Returns in one line why a model cannot be loaded; torch's own message advises to run the code in its pickle."""
    pickle = "its pickle is damaged or holds more than weights; give safetensors"
    return pickle if "weights_only" in reason(error) else reason(error)[:300]
