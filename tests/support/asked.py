"""Columns that a made study has where more was asked for: layers, texts, and all metrics of attention."""

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from embedshift.store.shards import fixed_lists, with_sums

TEXT_METRICS = ("text_alignment_shift", "zero_shot_flip")
# Optional metrics of attention, and their values for a change of x: a relative shift of attention lost, or a rise.
LOOKS: dict[str, Callable[[Any], Any]] = {
    "attention_entropy_rise": lambda x: 0.3 * x - 0.1,
    "attention_divergence": lambda x: 1 - np.exp(-0.2 * x),
    "aligned_attention_similarity": lambda x: 1 / (1 + 0.05 * x),
    "rollout_similarity": lambda x: 1 / (1 + 0.02 * x),
}
LAYER_COLUMNS = ("layer_cosine_cls", "layer_l2_cls", "layer_cosine_patches", "layer_l2_patches")


def with_looks(table: pa.Table, images: int, strengths: np.ndarray, draws: int, *, there: bool) -> pa.Table:
    """The stronger an augmentation, the more attention changes; null where there is none, and on the original."""
    change = np.tile(strengths, draws) * np.random.default_rng(images).uniform(
        0.5, 1.5, (images, len(strengths) * draws)
    )
    missing = np.full((images, change.shape[1] + 1), not there)
    missing[:, 0] = True
    for name, value in LOOKS.items():
        column = np.concatenate([np.zeros((images, 1)), value(change)], axis=1)
        table = table.append_column(name, pa.array(column.ravel(), pa.float64(), mask=missing.ravel()))
    return table


def with_layers(table: pa.Table, images: int, strengths: np.ndarray, draws: int, depth: int) -> pa.Table:
    """The deeper, the more every augmentation moves; the mean patch less than the class token."""
    rng = np.random.default_rng(depth)
    change = np.tile(strengths, draws)[:, None] * np.linspace(0.05, 0.3, depth)
    for place, name in enumerate(LAYER_COLUMNS):
        moved = change * rng.uniform(0.4, 0.6 if place > 1 else 1.0, (images, *change.shape))
        values = 20 * moved if "l2" in name else 1 - moved
        lists = [row for image in values.tolist() for row in (None, *image)]
        table = table.append_column(name, pa.array(lists, pa.list_(pa.float32(), depth)))
    terms = np.ones((len(strengths), 2, depth, 3))
    terms[..., 0] = 1 - np.clip(strengths, 0, 1)[:, None, None] * np.linspace(0.1, 0.5, depth)
    terms[..., 0] -= 0.05 * np.random.default_rng(zlib.crc32(str(table["image_id"][0]).encode())).random()
    sums = {"images": np.array(float(images)), "terms": images * draws * terms}
    return with_sums(table, {"cka": sums} if images >= 4 else {})


HEAD_NUMBERS = ("head_input", "head_pattern", "head_rest")


def head_lengths(shape: tuple[int, int] | None) -> dict[str, int]:
    """The lists of a study with heads, and their lengths; none without."""
    return {"heads": shape[0] * shape[1], "mlps": shape[0]} if shape else {}


def with_heads(table: pa.Table, images: int, strengths: np.ndarray, draws: int, shape: tuple[int, int]) -> pa.Table:
    """Blocks and heads: the last block carries most, its head 1 above all; views that did not turn have no relative shifts."""
    depth, width = shape
    rng, views = np.random.default_rng(depth * width), images * len(strengths) * draws
    relative_shift = rng.normal(0, 0.01, (views, depth * width + depth + 3))
    relative_shift[:, (depth - 1) * width : depth * width] += 0.3 / width
    relative_shift[:, depth * width - width + min(1, width - 1)] += rng.normal(0.2, 0.05, views)
    relative_shift[:, depth * width + depth - 1] += 0.4
    relative_shift[:, -2:] = 0.0  # a class token, and no rounding
    relative_shift[:, 0] += 1 - relative_shift.sum(axis=1)
    cosine = table["cosine_similarity"].to_numpy().reshape(images, -1)[:, 1:]
    missing = np.insert(cosine > 1 - 5e-13, 0, True, axis=1).ravel()
    start = 0
    for name, length in head_lengths(shape).items():
        values = np.zeros((images, len(missing) // images, length), np.float32)
        values[:, 1:] = relative_shift[:, start : start + length].reshape(images, -1, length)
        table = table.append_column(name, fixed_lists(values.reshape(-1, length), missing))
        start += length
    for place, name in enumerate(HEAD_NUMBERS, start):
        values = np.zeros(missing.shape)
        values.reshape(images, -1)[:, 1:] = relative_shift[:, place].reshape(images, -1)
        table = table.append_column(name, pa.array(values, pa.float64(), mask=missing))
    return table


def with_text(table: pa.Table, images: int, strengths: np.ndarray, draws: int) -> pa.Table:
    """The stronger an augmentation, the less its views match their captions, and the more they point to its word."""
    rng, power = np.random.default_rng(len(strengths)), np.tile(strengths, draws)
    noise = rng.normal(size=(images, len(power), len(strengths)))
    points = np.clip(0.3 * np.tile(np.eye(len(strengths)), (draws, 1)) * power[:, None] + 0.05 * noise, -1, 1)
    values = {"text_alignment_shift": 0.05 * noise[..., 0] - 0.1 * power, "zero_shot_flip": noise[..., 0] < power - 1.5}
    missing = np.zeros((images, len(power) + 1), bool)
    missing[:, 0] = True
    for name, found in values.items():
        column = np.concatenate([np.zeros((images, 1)), found], axis=1)
        table = table.append_column(name, pa.array(column.ravel(), pa.float64(), mask=missing.ravel()))
    lists = [row for image in points.tolist() for row in (None, *image)]
    return table.append_column("word_cosines", pa.array(lists, pa.list_(pa.float32(), len(strengths))))


def text_identity(names: Sequence[str], images: int) -> dict[str, Any]:
    """What a study with texts adds to its identity."""
    return {
        "words": {"original": "a photo", **{name: f"a photo with {name}" for name in names}},
        "captions": {"count": images, "hash": "0" * 64},
        "labels": {"count": 5, "hash": "0" * 64},
        "templates": ["a photo of a {}.", "a photo of the {}."],
        "tower": "2" * 64,
    }
