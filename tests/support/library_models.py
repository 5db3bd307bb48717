"""Tiny checkpoints of open_clip and timm, as their users have them."""

import json
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
from safetensors.torch import save_file

from support import models

VISION = {"image_size": 32, "patch_size": 8, "width": 32, "head_width": 8, "layers": 1}
TEXT = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
SMALL: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 4}


def write_open_clip(folder: Path, *, vision: Any = None, text: Any = None, pixels: Any = None, **more: Any) -> None:
    """open_clip_config.json with more, or other, words for its towers, its preprocessing and the whole."""
    towers = {"vision_cfg": VISION | (vision or {}), "text_cfg": TEXT | (text or {})}
    content = {"model_cfg": {"embed_dim": 20} | towers | more, "preprocess_cfg": pixels or {}}
    (folder / "open_clip_config.json").write_text(json.dumps(content))


def make_open_clip(
    folder: Path, *, config: Any = None, std: float = 0.2, dtype: str = "float32", **vision: Any
) -> Path:
    """A checkpoint; `config` has arguments of `write_open_clip`."""
    folder.mkdir(parents=True)
    write_open_clip(folder, **{"vision": vision} | (config or {}))
    model = open_clip.create_model(f"local-dir:{folder}").eval()
    models.widen(model, std=std)
    state = {name: value.to(getattr(torch, dtype)).contiguous() for name, value in model.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    return folder


def make_timm(folder: Path, name: str = "vit_tiny_patch16_224", *, std: float = 0.2, **settings: Any) -> Path:
    settings = settings or SMALL
    model = timm.create_model(name, **settings)
    models.widen(model, std=std)
    timm.models.save_for_hf(model, str(folder), model_args=settings, safe_serialization=True)
    return folder
