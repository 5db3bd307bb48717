"""Records: one image's views and what was measured of them → the rows of the study."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedshift.arrays import Values
from embedshift.augmentations import ORIGINAL
from embedshift.encoders.base import Encoder, EncoderOutput
from embedshift.pipeline.draw import DrawnImage
from embedshift.pipeline.measure import Column, Measure
from embedshift.pipeline.plan import Plan
from embedshift.sources.base import storable
from embedshift.store.shards import GRADES, fixed_lists, schema


def measure(image: DrawnImage, output: EncoderOutput, measures: Sequence[Measure], plan: Plan) -> dict[str, Values]:
    """All that the questions measure of one image, by column."""
    values = dict(image.pixels)
    for each in measures:
        values |= each.of_output(image, output, plan)
    return values


def columns(encoder: Encoder, plan: Plan) -> pa.Schema:
    """The columns of the rows that `encoder` and `plan` make."""
    cells = None if encoder.grid is None else encoder.grid[0] * encoder.grid[1]
    dim = encoder.dim if plan.config.store == "all" else None
    numbers = [each.name for each in plan.columns if each.length is None]
    lists = {each.name: each.length if each.of == "views" else None for each in plan.columns if each.length is not None}
    return schema(dim, cells, [*plan.metrics, *numbers], lists, graded=plan.suite.is_graded)


def rows(image: DrawnImage, output: EncoderOutput, values: Mapping[str, Values], plan: Plan, *, maps: bool) -> pa.Table:
    """One image's rows: the original, then draw by draw the augmentations in suite order; `maps`: with attention."""
    names, count, draws = plan.suite.names, len(image.views), plan.config.draws
    missing = np.isin(np.arange(count), image.missing)
    attention = pa.nulls(count, pa.list_(pa.float32()))
    if maps and output.attention is not None:
        attention = fixed_lists(output.attention.reshape(count, -1), missing)
    made: dict[str, pa.Array] = {
        "image_id": pa.array([storable(image.sample.image_id)] * count),
        "view": pa.array([ORIGINAL, *(names * draws)]),
        "draw": pa.array([0, *np.repeat(np.arange(draws), len(names))], pa.int32()),
        "view_seed": pa.array(image.seeds, pa.int64()),
        "pixels": pa.array([image.pixels_hash, *([None] * (count - 1))], pa.string()),
        "embedding": fixed_lists(output.embedding, missing),
        "attention": attention,
        "caption": pa.array([image.sample.caption] * count, pa.string()),
    }
    grades = [None, *(each.grade for each in plan.suite)]
    for name, kind in GRADES.items():
        of_draw = [getattr(grade, name, None) for grade in grades]
        made[name] = pa.array([of_draw[0], *(of_draw[1:] * draws)], kind)
    for name in plan.metrics:
        made[name] = _numbers(values.get(name), missing)
    for column in plan.columns:
        made[column.name] = _column(values.get(column.name), column, missing)
    return pa.table(made)


def _numbers(values: Values | None, missing: NDArray[np.bool_]) -> pa.Array:
    """A number for each augmented view: null on the original, on a missing view, and where it was not measured."""
    if values is None:
        return pa.nulls(len(missing), pa.float64())
    mask = np.concatenate([[True], missing[1:]])
    return pa.array(np.concatenate([np.full(1, np.nan), values]), pa.float64(), mask=mask)


def _column(values: Values | None, column: Column, missing: NDArray[np.bool_]) -> pa.Array:
    """A column of a question: lists or numbers, of the original alone, or of all rows but it and missing views."""
    rest = [None] * (len(missing) - 1)
    if column.length is None:
        if column.of == "original":
            return pa.array([None if values is None else float(values), *rest], pa.float64())
        unknown = missing if values is None else missing | np.isnan(np.concatenate([[np.nan], values]))
        return _numbers(values, unknown)
    if column.of == "original":
        first = None if values is None else np.asarray(values, np.float32).ravel()
        return pa.array([first, *rest], pa.list_(pa.float32()))
    if values is None:
        return pa.nulls(len(missing), pa.list_(pa.float32(), column.length))
    # One list per augmented view; of a view that has none, its first number is not a number.
    lists = np.asarray(values, np.float32).reshape(-1, column.length)
    part = fixed_lists(lists, missing[1:] | np.isnan(lists).all(axis=1))
    return pa.concat_arrays([pa.nulls(1, part.type), part])
