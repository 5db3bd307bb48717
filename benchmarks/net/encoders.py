"""Encoders of the frozen studies: functions of images, which need no model and give the same numbers everywhere."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 8


def colours(images: Sequence[Image.Image]) -> NDArray[np.float32]:
    """Colours of 4 × 4 cells around their mean, and the mean: 51 numbers."""
    rows = np.stack([np.asarray(image.convert("RGB").resize((4, 4), Image.Resampling.BOX), float) for image in images])
    means = rows.mean(axis=(1, 2)) / 255
    return np.concatenate([means, (rows / 255 - means[:, None, None]).reshape(len(rows), -1)], axis=1).astype("f4")


def edges(images: Sequence[Image.Image]) -> NDArray[np.float32]:
    """Differences of grey neighbours in 8 × 8 cells: 112 numbers."""
    grey = np.stack(
        [np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), float) for image in images]
    )
    across, down = np.diff(grey, axis=2), np.diff(grey, axis=1)
    return np.concatenate([across.reshape(len(grey), -1), down.reshape(len(grey), -1)], axis=1).astype("f4")


def slow(images: Sequence[Image.Image]) -> NDArray[np.float32]:
    """As `colours`, slowly enough that a run can be killed between two shards."""
    time.sleep(0.1)
    return colours(images)


def greyest(views: Any, original: Any) -> NDArray[np.float64]:
    """A metric of a user: the change of the mean level, `[V, S, S, 3]` and `[S, S, 3]` → `[V]`."""
    moved = np.asarray(views, float).mean(axis=(1, 2, 3)) - np.asarray(original, float).mean()
    return np.asarray(moved, float)
