"""Records: one image's views and what the encoder said of them → the rows of the study."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedshift.augmentations import ORIGINAL
from embedshift.draw import DrawnImage
from embedshift.encoders.base import Encoder, EncoderOutput, Observable
from embedshift.metrics import METRICS, layers, text
from embedshift.metrics.attention import scaled_map
from embedshift.metrics.embedding import pairwise_cosine_distances
from embedshift.plan import Plan
from embedshift.shards import fixed_lists, schema, storable
from embedshift.texts import TextVectors

Values = NDArray[np.float64]


def measure(image: DrawnImage, output: EncoderOutput, plan: Plan, caption: Values | None = None) -> dict[str, Values]:
    """All metrics of one image's augmented views, `[A * draws]` each, and `pairwise` `[draws, pairs]`."""
    embedding = output.embedding
    values = dict(image.pixels)
    for name in plan.of_family("embedding"):
        values[name] = METRICS[name].function(embedding[:1], embedding[1:])
    empty = np.full(len(embedding) - 1, np.nan)
    for family, maps in (("attention", output.attention), ("rollout", output.rollout)):
        for name in plan.of_family(family):
            values[name] = empty if maps is None else METRICS[name].function(maps[:1], maps[1:], plan.preprocess.size)
    for name in plan.of_family("aligned"):
        values[name] = empty if output.attention is None else _aligned(name, image, output.attention, plan)
    if plan.layers and output.layers is not None:
        values |= layers.shift(output.layers)
    if plan.text is not None:
        values |= _against_text(embedding, plan.text, caption)
    values["pairwise"] = pairwise_cosine_distances(embedding[1:].reshape(plan.draws, len(plan.suite.names), -1))
    return values


def _aligned(metric: str, image: DrawnImage, maps: NDArray[np.float32], plan: Plan) -> Values:
    """A metric of the views' maps and the original's, which is first moved as each view was; `[A * draws]`."""
    before, names = scaled_map(maps[0], plan.preprocess.size), plan.suite.names * plan.draws
    moved = (plan.suite.warp(n, image.views[0], before, seed) for n, seed in zip(names, image.seeds[1:], strict=True))
    after = (scaled_map(view, plan.preprocess.size) for view in maps[1:])
    return np.array([METRICS[metric].function(a, b) for a, b in zip(moved, after, strict=True)])


def _against_text(embedding: NDArray[np.float32], told: TextVectors, caption: Values | None) -> dict[str, Values]:
    """What the texts say of the views: `[A * draws]` each, `word_cosines` `[A * draws, W]`."""
    original, views = embedding[:1], embedding[1:]
    values: dict[str, Values] = {}
    if caption is not None:
        values["text_alignment_shift"] = text.text_alignment_shift(original, views, caption)
    if told.classes is not None:
        values["zero_shot_flip"] = text.zero_shot_flip(original, views, told.classes)
    if told.directions is not None:
        values["word_cosines"] = text.word_cosines(original, views, told.directions)
    return values


def columns(encoder: Encoder, plan: Plan) -> pa.Schema:
    """The columns of the rows that `encoder` and `plan` make."""
    cells = None if encoder.grid is None else encoder.grid[0] * encoder.grid[1]
    return schema(encoder.dim if plan.store == "all" else None, cells, plan.metrics, list_columns(encoder, plan))


def list_columns(encoder: Encoder, plan: Plan) -> dict[str, int]:
    """Columns that hold a list of numbers for every augmented view, and the length of the list."""
    lists: dict[str, int] = {}
    if plan.layers and isinstance(encoder, Observable):
        lists |= {layers.column(m, token): encoder.depth for token in encoder.layer_tokens for m in layers.FUNCTIONS}
    if plan.text is not None and plan.text.directions is not None:
        lists["word_cosines"] = len(plan.text.directions)
    return lists


def rows(image: DrawnImage, output: EncoderOutput, values: dict[str, Values], plan: Plan, *, maps: bool) -> pa.Table:
    """One image's rows: the original, then draw by draw the augmentations in suite order; `maps`: with attention."""
    names, count = plan.suite.names, len(image.views)
    attention = pa.nulls(count, pa.list_(pa.float32()))
    if maps and output.attention is not None:
        attention = fixed_lists(output.attention.reshape(count, -1))
    nothing = np.full(1, np.nan)
    columns: dict[str, pa.Array] = {
        "image_id": pa.array([storable(image.sample.image_id)] * count),
        "view": pa.array([ORIGINAL, *(names * plan.draws)]),
        "draw": pa.array([0, *np.repeat(np.arange(plan.draws), len(names))], pa.int32()),
        "view_seed": pa.array(image.seeds, pa.int64()),
        "embedding": fixed_lists(output.embedding),
        "attention": attention,
    }
    for name in plan.metrics:
        column = np.concatenate([nothing, values.get(name, np.full(count - 1, np.nan))])
        missing = np.arange(count) == 0
        if name not in values or (METRICS[name].of_attention and output.attention is None):
            missing[:] = True
        columns[name] = pa.array(column, pa.float64(), mask=missing)
    pairs: list[list[float] | None] = [values["pairwise"].ravel().tolist(), *([None] * (count - 1))]
    columns["pairwise"] = pa.array(pairs, pa.list_(pa.float32()))
    columns["caption"] = pa.array([image.sample.caption] * count, pa.string())
    for name in values.keys() - {*plan.metrics, "pairwise"}:
        part = fixed_lists(values[name].astype(np.float32))  # one list per augmented view
        columns[name] = pa.concat_arrays([pa.nulls(1, part.type), part])
    return pa.table(columns)
