"""Records: one image's views and what the encoder said of them → the rows of the study."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedshift.augmentations import ORIGINAL
from embedshift.draw import DrawnImage
from embedshift.encoders.base import Encoder, EncoderOutput
from embedshift.metrics import METRICS
from embedshift.metrics.embedding import pairwise_cosine_distances
from embedshift.plan import Plan
from embedshift.shards import fixed_lists, schema, storable

Values = NDArray[np.float64]


def measure(image: DrawnImage, output: EncoderOutput, plan: Plan) -> dict[str, Values]:
    """All metrics of one image's augmented views, `[A * draws]` each, and `pairwise` `[draws, pairs]`."""
    embedding, maps = output.embedding, output.attention
    values = dict(image.pixels)
    for name in plan.of_family("embedding"):
        values[name] = METRICS[name].function(embedding[:1], embedding[1:])
    for name in plan.of_family("attention"):
        empty = np.full(len(embedding) - 1, np.nan)
        values[name] = empty if maps is None else METRICS[name].function(maps[:1], maps[1:], plan.preprocess.size)
    values["pairwise"] = pairwise_cosine_distances(embedding[1:].reshape(plan.draws, len(plan.suite.names), -1))
    return values


def columns(encoder: Encoder, plan: Plan) -> pa.Schema:
    """The columns of the rows that `encoder` and `plan` make."""
    cells = None if encoder.grid is None else encoder.grid[0] * encoder.grid[1]
    return schema(encoder.dim, cells, plan.metrics, list_columns(encoder, plan))


def list_columns(encoder: Encoder, plan: Plan) -> dict[str, int]:
    """Columns that hold a list of numbers for every augmented view, and the length of the list."""
    return {}


def rows(image: DrawnImage, output: EncoderOutput, values: dict[str, Values], plan: Plan) -> pa.Table:
    """One image's rows: the original, then draw by draw the augmentations in suite order."""
    names, count = plan.suite.names, len(image.views)
    attention = pa.nulls(count, pa.list_(pa.float32()))
    if output.attention is not None:
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
        column = np.concatenate([nothing, values[name]])
        missing = np.arange(count) == 0
        if METRICS[name].family == "attention" and output.attention is None:
            missing[:] = True
        columns[name] = pa.array(column, pa.float64(), mask=missing)
    pairs: list[list[float] | None] = [values["pairwise"].ravel().tolist(), *([None] * (count - 1))]
    columns["pairwise"] = pa.array(pairs, pa.list_(pa.float32()))
    columns["caption"] = pa.array([image.sample.caption] * count, pa.string())
    for name in values.keys() - {*plan.metrics, "pairwise"}:
        part = fixed_lists(values[name].astype(np.float32))  # one list per augmented view
        columns[name] = pa.concat_arrays([pa.nulls(1, part.type), part])
    return pa.table(columns)
