"""Loads timm encoders: any timm model without its classifier."""

import difflib
import logging
from typing import Any

from embedshift.config import Precision
from embedshift.encoders.base import Preprocess
from embedshift.encoders.embeddings import READERS
from embedshift.encoders.families import TIMM
from embedshift.encoders.folder import check_folder, local_path
from embedshift.encoders.huggingface import hub_answers
from embedshift.encoders.libraries import RESAMPLE, display_name, library
from embedshift.encoders.module import ModuleEncoder
from embedshift.encoders.trust import check_timm, no_remote_code, refusing
from embedshift.errors import UsageError

log = logging.getLogger(__name__)


def load_timm(
    model: str,
    *,
    device: str = "auto",
    precision: Precision = "float32",
    size: int | None = None,
    embedding: str | None = None,
) -> ModuleEncoder:
    chosen = TIMM.choose(embedding)
    timm = library("timm")
    _check_name(timm, model)
    with refusing(f"timm:{model}: cannot be loaded"):
        module = _create(timm, model, size)
        data = timm.data.resolve_model_data_config(module)
    native, (red, green, blue) = int(data["input_size"][-1]), data["mean"]
    preprocess = Preprocess(
        native,
        (red, green, blue),
        tuple(data["std"]),
        int(native / data["crop_pct"]),
        RESAMPLE.get(data["interpolation"], 3),
        squash=data.get("crop_mode") == "squash",
    )
    return ModuleEncoder(
        module,
        READERS[chosen.reader],
        preprocess.at(size),
        display_name("timm", model),
        device=device,
        precision=precision,
        embedding=chosen,
    )


def _create(timm: Any, model: str, size: int | None) -> Any:
    source, _, location = model.partition(":")
    local, folder = source == "local-dir", local_path(location)
    if local:
        check_folder(folder)
        check_timm(folder)
        if not any(folder.glob("*.safetensors")):
            log.info(
                "timm:%s: no safetensors file; its pickle is read as weights only, without running code in it", model
            )
        model = f"{source}:{folder}"
    with no_remote_code(local=local or not hub_answers()):
        try:
            module = timm.create_model(model, pretrained=True, img_size=size)
        except TypeError as error:
            if "img_size" not in str(error):
                raise
            module = timm.create_model(model, pretrained=True)  # convolutions take any size
    module.reset_classifier(0)
    return module


def _check_name(timm: Any, model: str) -> None:
    source, _, location = model.partition(":")
    if source == "local-dir":
        if not local_path(location).is_dir():
            raise UsageError(f"{location}: no such folder")
    elif source != "hf-hub" and not timm.is_model(model.split(".")[0]):
        nearest = difflib.get_close_matches(model.split(".")[0], timm.list_models(), n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else "; timm.list_models() has them all"
        raise UsageError(f"unknown model of timm {model!r}{hint}")
