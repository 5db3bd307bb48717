"""Loads encoders from the Hugging Face Hub or a local folder, by the table of `families.py`."""

import contextlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import huggingface_hub
import torch
import transformers
from torch import nn

from embedshift.config import BUNDLED, Precision
from embedshift.encoders.embeddings import READERS, tower
from embedshift.encoders.families import MODEL_TYPES, Family, family_of
from embedshift.encoders.files import checkpoint_file, read_preprocess
from embedshift.encoders.folder import check_folder, local_path, no_such_folder
from embedshift.encoders.module import ModuleEncoder
from embedshift.encoders.trust import check_config, check_index, no_remote_code, refuse_missing, short_reason
from embedshift.errors import EmbedshiftError, reason

log = logging.getLogger(__name__)

# A model whose weights are only a pickle would be sent to a conversion service on the Hub in the background.
os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")

HUB_SECONDS = 5
# Keys of config.json that change no number.
NO_SETTINGS = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures")
SAFETENSORS = ("model.safetensors", "model.safetensors.index.json")
INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


def load_huggingface(
    model: str,
    *,
    name: str | None = None,
    device: str = "auto",
    precision: Precision = "float32",
    size: int | None = None,
    embedding: str | None = None,
) -> ModuleEncoder:
    """Loads the vision part of a checkpoint: a Hub id, or a local folder in the form of `save_pretrained`."""
    checkpoint = find_checkpoint(model)
    chosen = checkpoint.family.choose(embedding)
    module = load_module(checkpoint, checkpoint.family.loader, checkpoint.family.drop + chosen.drop)
    return ModuleEncoder(
        module,
        READERS[chosen.reader],
        read_preprocess(checkpoint.source, checkpoint.family, checkpoint.config, checkpoint.offline).at(size),
        name or checkpoint.name,
        device=device,
        precision=precision,
        tower=tower(module),
        embedding=chosen,
        revision=getattr(checkpoint.config, "_commit_hash", None),
        configuration=settings_of(json.loads(checkpoint.config.to_json_string(use_diff=True))),
    )


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was found and whose family is known."""

    model: str
    name: str
    source: str
    family: Family
    config: transformers.PretrainedConfig
    offline: bool

    @property
    def local(self) -> bool:
        """Whether it is a folder on this machine, so that no part comes from the network."""
        return Path(self.source).is_dir()


def find_checkpoint(model: str) -> Checkpoint:
    """Returns the checkpoint of a Hub id or a local folder; EmbedshiftError if none of a known family exists."""
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
    """Returns whether the Hub answers; asked once, because its client asks six times for each file of a model."""
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


def _config(source: str, model: str, offline: bool) -> tuple[Family, transformers.PretrainedConfig]:
    with quiet(), no_remote_code(local=Path(source).is_dir()):
        try:
            # The type first: for an unknown type, transformers would ask to run the checkpoint's own code.
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
    """Loads a transformers class with the checkpoint's weights, without the children named in `drop`."""
    model, family = checkpoint.model, checkpoint.family
    loader = _class_without(getattr(transformers, class_name), drop)
    for name in INDEXES:
        check_index(checkpoint_file(checkpoint.source, name, checkpoint.offline), model)
    if checkpoint_file(checkpoint.source, "adapter_config.json", checkpoint.offline):
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
    if not any(checkpoint_file(checkpoint.source, name, checkpoint.offline) for name in SAFETENSORS):
        log.info("%s: no safetensors file; its pickle was read as weights only, without running code in it", model)
    return cast(nn.Module, module)


def _class_without(loader: type[Any], drop: tuple[str, ...]) -> type[Any]:
    """Returns a transformers class without the children that see no image, so that they take no memory."""
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
