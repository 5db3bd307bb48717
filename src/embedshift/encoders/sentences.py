"""Models of sentence-transformers that encode images and texts."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub

from embedshift.encoders.base import Encoder, TokenizerError
from embedshift.encoders.device import find_device
from embedshift.encoders.families import HALF_STATS
from embedshift.encoders.folder import check_folder, local_path, no_such_folder
from embedshift.encoders.huggingface import hub_answers, preprocess_from, quiet, settings_of
from embedshift.encoders.images import SIZE, ViewEncoder
from embedshift.encoders.libraries import library
from embedshift.encoders.structure import weights_hash
from embedshift.encoders.text import TOKENIZER_FILES
from embedshift.encoders.trust import check_sentence_transformer, no_remote_code, refusing, whole_weights
from embedshift.errors import UsageError

# Unused files of a repository.
NOT_READ = ["onnx/*", "openvino/*", "*.onnx", "*.h5", "*.msgpack", "*.ot"]


def load_sentences(model: str, *, device: str = "auto", size: int | None = None, **_settings: Any) -> Encoder:
    transformer = library("sentence_transformers", "st").SentenceTransformer
    if not model.strip():
        raise UsageError("st: name a folder after it, or a model of the Hugging Face Hub")
    folder, computed_on = local_path(model), str(find_device(device))
    name = folder.resolve().name if folder.is_dir() else f"st:{model}"
    if not folder.is_dir():
        words = f"st:{no_such_folder(model)}, and no model of the Hugging Face Hub can be loaded"
        with refusing(words), quiet(), no_remote_code(local=not hub_answers()):
            folder = Path(huggingface_hub.snapshot_download(model, ignore_patterns=NOT_READ))
    with refusing(f"st:{model}: cannot be loaded"), quiet():
        for part, _, _ in os.walk(folder):
            check_folder(Path(part))
        check_sentence_transformer(folder)
        with no_remote_code(local=True), whole_weights(f"st:{model}"):
            loaded = transformer(str(folder), device=computed_on, trust_remote_code=False, local_files_only=True)

    def encode(inputs: Sequence[Any]) -> Any:
        return loaded.encode(list(inputs), batch_size=max(1, len(inputs)), show_progress_bar=False)

    def encode_text(texts: Sequence[str]) -> Any:
        if not any(next(folder.rglob(file), None) for file in TOKENIZER_FILES):
            raise TokenizerError(f"{name}: no tokenizer in its folder, so it cannot encode texts")
        with refusing(f"{name}: cannot encode texts"):
            return encode(texts)

    made: Any = SimpleNamespace(name=name, device=computed_on, encode_images=encode, encode_text=encode_text)
    made.version, made.size = _version(loaded, folder), _side(loaded[0], folder)
    return ViewEncoder(made, size)


def _version(model: Any, folder: Path) -> str:
    digest = hashlib.sha256(weights_hash(model).encode())
    for file in sorted(folder.rglob("*.json")):
        digest.update(f"{file.relative_to(folder)}|{json.dumps(settings_of(json.loads(file.read_bytes())))}".encode())
    return digest.hexdigest()


def _side(module: Any, folder: Path) -> int:
    processor: Any = getattr(module, "processor", None)
    processor = getattr(processor, "image_processor", processor)
    if not hasattr(processor, "image_mean"):
        return SIZE
    return preprocess_from(json.loads(processor.to_json_string()), str(folder), HALF_STATS, lambda: SIZE).size
