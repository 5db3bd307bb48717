"""Encoders that might follow the bundled one, for benchmarks: `--model python:refined:NAME`, from this folder.

`tuned` stands for a fine-tuned copy: noise of .45 standard deviations in every weight of the last two blocks, 384
numbers; `matrices` has it in their matrices alone, and stays nearer. `block9` is another space: class token and mean
of the patch tokens after block 9, 768 numbers. `both` has the numbers of `block9`, then those of `tuned`, by one pass.
"""

import copy
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from embedshift import load_encoder

NOISE, SIDE, SHORTEST, KEPT = 0.45, 224, 256, 10
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@functools.cache
def _network(least: int = 1) -> tuple[Any, Any]:
    """Returns the network, and its last two blocks with noise in weights of `least` dimensions or more."""
    encoder: Any = load_encoder("dinov2-small-offline", device="cpu")
    network = encoder.module
    noisy, generator = copy.deepcopy(network.encoder.layer[KEPT:]), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in (each for each in noisy.parameters() if each.ndim >= least):
            weights += NOISE * weights.std() * torch.randn(weights.shape, generator=generator)
    return network.eval(), noisy.eval()


def _pixels(image: Image.Image) -> torch.Tensor:
    scale = SHORTEST / min(image.size)
    width, height = (round(length * scale) for length in image.size)
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    resized = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    cut = np.asarray(resized.crop((left, top, left + SIDE, top + SIDE)), np.float32) / 255
    return torch.from_numpy(((cut - MEAN) / STD).astype(np.float32).transpose(2, 0, 1))


def both(images: Sequence[Image.Image], least: int = 1) -> NDArray[np.float32]:
    network, noisy = _network(least)
    with torch.inference_mode():
        tokens = network.embeddings(torch.stack([_pixels(image) for image in images]))
        for number, block in enumerate([*network.encoder.layer[:KEPT], *noisy], start=1):
            out = block(tokens)
            tokens = out[0] if isinstance(out, tuple) else out
            if number == 9:
                ninth = torch.cat([tokens[:, 0], tokens[:, 1:].mean(dim=1)], dim=1)
        return torch.cat([ninth, network.layernorm(tokens)[:, 0]], dim=1).numpy()


def block9(images: Sequence[Image.Image]) -> NDArray[np.float32]:
    return both(images)[:, :768]


def tuned(images: Sequence[Image.Image]) -> NDArray[np.float32]:
    return both(images)[:, 768:]


def matrices(images: Sequence[Image.Image]) -> NDArray[np.float32]:
    return both(images, 2)[:, 768:]
