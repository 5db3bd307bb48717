"""Models of sentence-transformers that encode images and texts."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import huggingface_hub
from PIL import Image

from embedshift.encoders.base import Encoder
from embedshift.encoders.device import find_device
from embedshift.encoders.families import HALF_STATS
from embedshift.encoders.files import preprocess_from
from embedshift.encoders.folder import check_folder
from embedshift.encoders.huggingface import quiet
from embedshift.encoders.images import SIZE, ViewEncoder
from embedshift.encoders.libraries import library
from embedshift.encoders.trust import check_sentence_transformer, no_remote_code, short_reason
from embedshift.encoders.weights import weights_hash
from embedshift.errors import EmbedshiftError

# What a repository holds beside what is read here.
NOT_READ = ["onnx/*", "openvino/*", "*.onnx", "*.h5", "*.msgpack", "*.ot"]


class SentenceEncoder:
    """A model that encodes images and texts into one space."""

    def __init__(self, model: Any, name: str, folder: Path) -> None:
        self.name, self.model, self.device = name, model, str(model.device)
        digest = hashlib.sha256(weights_hash(model).encode())
        for file in sorted(folder.rglob("*.json")):
            digest.update(f"{file.relative_to(folder)}|".encode() + file.read_bytes())
        self.version = digest.hexdigest()
        processor = getattr(model[0], "processor", None)
        processor = getattr(processor, "image_processor", processor)
        self.size = SIZE
        if hasattr(processor, "image_mean"):
            settings = json.loads(processor.to_json_string())
            self.size = preprocess_from(settings, str(folder), HALF_STATS, lambda: SIZE).size

    def encode_images(self, images: Sequence[Image.Image]) -> Any:
        """Encodes N images to `[N, D]`."""
        return self.model.encode(list(images), batch_size=max(1, len(images)), show_progress_bar=False)

    def encode_text(self, texts: Sequence[str]) -> Any:
        """Encodes N texts to `[N, D]`."""
        return self.model.encode(list(texts), show_progress_bar=False)


def load_sentences(model: str, *, device: str = "auto", size: int | None = None, **_settings: Any) -> Encoder:
    """Loads a model of sentence-transformers: a folder, or an id of the Hub."""
    transformer = library("sentence_transformers", "st").SentenceTransformer
    folder = Path(model).expanduser()
    local = folder.is_dir()
    name = folder.resolve().name if local else f"st:{model}"
    try:
        if not local:
            folder = Path(huggingface_hub.snapshot_download(model, ignore_patterns=NOT_READ))
        if not (folder / "modules.json").is_file():
            raise EmbedshiftError(f"st:{model}: it has no modules.json; a folder of transformers is given without st:")
        for part in {folder, *(path.parent for path in folder.rglob("*.json"))}:
            check_folder(part)
        check_sentence_transformer(folder)
        with quiet(), no_remote_code(local=True):
            loaded = transformer(
                str(folder), device=str(find_device(device)), trust_remote_code=False, local_files_only=True
            )
    except EmbedshiftError:
        raise
    except Exception as error:
        raise EmbedshiftError(f"st:{model}: cannot be loaded ({short_reason(error)})") from error
    return ViewEncoder(SentenceEncoder(loaded.eval(), name, folder), size)
