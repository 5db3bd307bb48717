"""Makers of tiny models with random weights, saved as a user's checkpoint is and loaded by the path that it takes.

Weights are drawn wide, so that attention is far from uniform and embeddings far from each other: a mistake shows.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    PreTrainedModel,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

from embedshift.encoders import EncoderOutput

SIZE, PATCH = 32, 8
MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
TOWER: dict[str, Any] = {
    "hidden_size": 24,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": SIZE,
    "patch_size": PATCH,
}
TEXT: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 99,
}


def clip() -> CLIPModel:
    return CLIPModel(CLIPConfig(vision_config=TOWER, text_config=TEXT, projection_dim=20))


def clip_vision() -> CLIPVisionModelWithProjection:
    return CLIPVisionModelWithProjection(CLIPVisionConfig(**TOWER, projection_dim=20))


def dinov2() -> Dinov2Model:
    return Dinov2Model(Dinov2Config(**TOWER))


MAKERS: dict[str, Callable[[], PreTrainedModel]] = {
    "clip": clip,
    "clip_vision": clip_vision,
    "dinov2": dinov2,
    "dinov2_registers": lambda: Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**TOWER, num_register_tokens=4)),
    "vit": lambda: ViTModel(ViTConfig(**TOWER)),
    "vit_classifier": lambda: ViTForImageClassification(ViTConfig(**TOWER | {"num_labels": 5})),
}


def widen(model: nn.Module, std: float = 0.3, seed: int = 0) -> None:
    """Draws every weight anew: matrices with `std`, norms around 1, biases around 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            norm = parameter.ndim == 1 and name.endswith("weight")
            parameter.copy_(1 + 0.1 * drawn if norm else drawn * std)


def save(model: PreTrainedModel, folder: Path, *, size: int = SIZE, safe: bool = True) -> Path:
    """A checkpoint's folder: config, weights, preprocessor_config.json; `safe=False` = only pytorch_model.bin."""
    model.save_pretrained(folder)
    if not safe:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    write_preprocessor(folder, size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    return folder


def write_preprocessor(folder: Path, **settings: Any) -> None:
    content = {"image_mean": MEAN, "image_std": STD, "do_center_crop": True, "resample": 3, **settings}
    (folder / "preprocessor_config.json").write_text(json.dumps(content))


def make(kind: str, folder: Path, **settings: Any) -> Path:
    """A tiny checkpoint of one of `MAKERS`, with wide random weights."""
    model = MAKERS[kind]()
    widen(model)
    return save(model, folder, **settings)


class TinyNet(nn.Module):
    """A user's own encoder without attention: mean colours of a coarse grid, mixed."""

    def __init__(self, dim: int = 6) -> None:
        super().__init__()
        self.pool, self.mix = nn.AdaptiveAvgPool2d(4), nn.Linear(48, dim)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        mixed: torch.Tensor = self.mix(self.pool(pixels).flatten(1))
        return mixed


@dataclass
class Colours:
    """An encoder that is no torch module: mean colours of a 2 x 2 grid. It keeps every batch that it was given."""

    name: str = "colours"
    dim: int = 12
    grid: tuple[int, int] | None = None
    size: int = SIZE
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    weights_hash: str = "no weights"
    batches: list[np.ndarray] = field(default_factory=list)

    def __call__(self, views: np.ndarray) -> EncoderOutput:
        self.batches.append(views)
        half = self.size // 2
        cells = views.reshape(len(views), 2, half, 2, half, 3).mean(axis=(2, 4), dtype=np.float64)
        return EncoderOutput(cells.reshape(len(views), 12).astype(np.float32) / 255, None, None)


def pictures(folder: Path, count: int, *, width: int = 80, height: int = 60, seed: int = 0) -> Path:
    """`count` smooth pictures that differ, as PNG: `picture-00.png` and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for index in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(folder / f"picture-{index:02d}.png")
    return folder


def pictures_of(folder: Path, sizes: Mapping[str, tuple[int, int]]) -> Path:
    """Smooth pictures of these names, heights and widths."""
    rng = np.random.default_rng(0)
    for name, (height, width) in sizes.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (7, 7, 3), dtype=np.uint8)).resize((width, height)).save(folder / name)
    return folder


class SmallTransformer(nn.Module):
    """Class token and patches through three blocks of attention, their norms behind the sums unless they come first."""

    def __init__(self, width: int = 16, *, norm_first: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width))
        self.patches = nn.Conv2d(3, width, PATCH, PATCH)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 2, 32, batch_first=True, dropout=0.0, norm_first=norm_first)
            for _ in range(3)
        )

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        patches = self.patches(pixels).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(pixels), -1, -1), patches], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens[:, 0]


def vision_and_letters() -> Any:
    """An encoder with attention and layers that reads texts too: sums of fixed vectors, one a letter."""
    letters = np.random.default_rng(0).normal(size=(256, 16))

    def encode_text(texts: Any) -> np.ndarray:
        return np.stack([letters[[ord(letter) % 256 for letter in text]].sum(axis=0) for text in texts])

    import embedshift

    net = SmallTransformer(norm_first=True)
    return embedshift.wrap(net, size=SIZE, mean=MEAN, std=STD, device="cpu", encode_text=encode_text)
