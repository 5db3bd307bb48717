"""Models of sentence-transformers that encode images and texts."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub

from embedshift.encoders.base import Encoder
from embedshift.encoders.device import find_device
from embedshift.encoders.families import HALF_STATS
from embedshift.encoders.files import preprocess_from
from embedshift.encoders.folder import check_folder
from embedshift.encoders.huggingface import quiet
from embedshift.encoders.images import SIZE, ViewEncoder
from embedshift.encoders.libraries import library
from embedshift.encoders.trust import check_sentence_transformer, no_remote_code, refusing
from embedshift.encoders.weights import weights_hash

# What a repository holds beside what is read here.
NOT_READ = ["onnx/*", "openvino/*", "*.onnx", "*.h5", "*.msgpack", "*.ot"]


def load_sentences(model: str, *, device: str = "auto", size: int | None = None, **_settings: Any) -> Encoder:
    """Loads a model of sentence-transformers, for images and texts: a folder, or an id of the Hub."""
    transformer = library("sentence_transformers", "st").SentenceTransformer
    folder, computed_on = Path(model).expanduser(), str(find_device(device))
    name = folder.resolve().name if folder.is_dir() else f"st:{model}"
    with refusing(f"st:{model}: cannot be loaded"), quiet():
        if not folder.is_dir():
            folder = Path(huggingface_hub.snapshot_download(model, ignore_patterns=NOT_READ))
        for part in {folder, *(path.parent for path in folder.rglob("*.json"))}:
            check_folder(part)
        check_sentence_transformer(folder)
        with no_remote_code(local=True):
            loaded = transformer(str(folder), device=computed_on, trust_remote_code=False, local_files_only=True)

    def encode(inputs: Sequence[Any]) -> Any:
        return loaded.encode(list(inputs), batch_size=max(1, len(inputs)), show_progress_bar=False)

    made: Any = SimpleNamespace(name=name, device=computed_on, encode_images=encode, encode_text=encode)
    made.version, made.size = _version(loaded, folder), _side(loaded[0], folder)
    return ViewEncoder(made, size)


def _version(model: Any, folder: Path) -> str:
    """Returns a hash of the weights, and of all settings."""
    digest = hashlib.sha256(weights_hash(model).encode())
    for file in sorted(folder.rglob("*.json")):
        digest.update(f"{file.relative_to(folder)}|".encode() + file.read_bytes())
    return digest.hexdigest()


def _side(module: Any, folder: Path) -> int:
    """Returns the side of the images that a module's image processor makes."""
    processor: Any = getattr(module, "processor", None)
    processor = getattr(processor, "image_processor", processor)
    if not hasattr(processor, "image_mean"):
        return SIZE
    return preprocess_from(json.loads(processor.to_json_string()), str(folder), HALF_STATS, lambda: SIZE).size
