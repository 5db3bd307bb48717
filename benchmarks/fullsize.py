"""What benchmarks of whole studies need: a full-size encoder that any process can load, and photos enough."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from embedshift.sources import FolderSource


def save_clip(folder: Path) -> Path:
    """A checkpoint of CLIP ViT-B/32's vision part with random weights: speed does not depend on them."""
    torch.manual_seed(0)
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    CLIPVisionModelWithProjection(CLIPVisionConfig()).save_pretrained(folder)
    return folder


def save_whole_clip(folder: Path, open_clip: Path) -> None:
    """A whole CLIP ViT-B/32 with random weights and its image processor, and the same weights as open_clip has them.

    Args:
        folder: Of the checkpoint for transformers.
        open_clip: A file for open_clip's "ViT-B-32-quickgelu".
    """
    torch.manual_seed(0)
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model = CLIPModel(CLIPConfig())
    model.save_pretrained(folder)
    processor: Any = CLIPImageProcessor()
    processor.save_pretrained(folder)
    weights = model.state_dict()
    found = _tower(weights, "vision_model", "visual.transformer.resblocks") | _tower(
        weights, "text_model", "transformer.resblocks"
    )
    vision, text = "vision_model.embeddings", "text_model.embeddings"
    found |= {
        "visual.class_embedding": weights[f"{vision}.class_embedding"],
        "visual.conv1.weight": weights[f"{vision}.patch_embedding.weight"],
        "visual.positional_embedding": weights[f"{vision}.position_embedding.weight"],
        "visual.proj": weights["visual_projection.weight"].T,
        "token_embedding.weight": weights[f"{text}.token_embedding.weight"],
        "positional_embedding": weights[f"{text}.position_embedding.weight"],
        "text_projection": weights["text_projection.weight"].T,
        "logit_scale": weights["logit_scale"],
    }
    norms = {
        "visual.ln_pre": "vision_model.pre_layrnorm",
        "visual.ln_post": "vision_model.post_layernorm",
        "ln_final": "text_model.final_layer_norm",
    }
    found |= {f"{to}.{end}": weights[f"{start}.{end}"] for to, start in norms.items() for end in ("weight", "bias")}
    save_file({name: value.contiguous() for name, value in found.items()}, open_clip)


def _tower(weights: Mapping[str, Tensor], start: str, to: str) -> dict[str, Tensor]:
    """The blocks of one of CLIP's towers, by open_clip's names."""
    parts = {
        "attn.out_proj": "self_attn.out_proj",
        "ln_1": "layer_norm1",
        "ln_2": "layer_norm2",
        "mlp.c_fc": "mlp.fc1",
        "mlp.c_proj": "mlp.fc2",
    }
    found: dict[str, Tensor] = {}
    for block in range(12):
        layer = f"{start}.encoder.layers.{block}"
        for end in ("weight", "bias"):
            qkv = [weights[f"{layer}.self_attn.{each}_proj.{end}"] for each in "qkv"]
            found[f"{to}.{block}.attn.in_proj_{end}"] = torch.cat(qkv)
            for name, part in parts.items():
                found[f"{to}.{block}.{name}.{end}"] = weights[f"{layer}.{part}.{end}"]
    return found


def repeat_photos(photos: Path, count: int, folder: Path) -> list[Path]:
    """Copies of the photos in a folder, again and again under other names, until there are `count`; in order."""
    found = [Path(sample.location) for sample in FolderSource([str(photos)]).samples]
    folder.mkdir()
    copies = [folder / f"{number:06d}{found[number % len(found)].suffix}" for number in range(count)]
    for number, copy in enumerate(copies):
        shutil.copy(found[number % len(found)], copy)
    return copies
