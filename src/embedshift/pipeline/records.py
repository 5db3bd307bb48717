"""Makes the rows of a study from the images of a shard and their measurements."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedshift.arrays import Floats, Values
from embedshift.augmentations import ORIGINAL
from embedshift.encoders.base import Encoder, EncoderOutput
from embedshift.pipeline.draw import DrawnImage
from embedshift.pipeline.measure import Column, Measure
from embedshift.pipeline.plan import Plan
from embedshift.sources.base import storable
from embedshift.store.shards import GRADES, fixed_lists, schema


def measure(image: DrawnImage, output: EncoderOutput, measures: Sequence[Measure], plan: Plan) -> dict[str, Values]:
    """Returns everything that the questions measure for one image, by column."""
    values = dict(image.pixels)
    for each in measures:
        values |= each.of_output(image, output, plan)
    return values


def columns(encoder: Encoder, plan: Plan) -> pa.Schema:
    """Returns the columns of the rows that `encoder` and `plan` give."""
    cells = None if encoder.grid is None else encoder.grid[0] * encoder.grid[1]
    dim = encoder.dim if plan.config.store == "all" else None
    numbers = [each.name for each in plan.columns if each.length is None]
    lists = {each.name: each.length if each.of == "views" else None for each in plan.columns if each.length is not None}
    return schema(dim, cells, [*plan.metrics, *numbers], lists, graded=plan.suite.is_graded)


class Rows:
    """The rows of the images of one shard: for each the original, then draw by draw the augmentations in suite order."""

    def __init__(self, schema: pa.Schema, plan: Plan) -> None:
        self._schema, self._plan = schema, plan
        self._count = 1 + plan.views
        self._images: list[DrawnImage] = []
        self._embeddings: list[Floats] = []
        self._maps: list[Floats] = []
        self._values: list[Mapping[str, Values]] = []

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self._images)

    def add(self, image: DrawnImage, output: EncoderOutput, values: Mapping[str, Values]) -> None:
        """Adds an image and its measurements."""
        everything = self._plan.config.store == "all"
        if output.attention is not None and (everything or not self._maps):
            # One map for figures in a study without vectors; more maps would dominate its size.
            self._maps.append(output.attention)
        if everything:
            self._embeddings.append(output.embedding)
        self._images.append(image.without_views())
        self._values.append(values)

    def table(self) -> pa.Table:
        """Returns all rows."""
        if not self._images:
            return self._schema.empty_table()
        made: dict[str, Callable[[], pa.Array]] = self._names() | {
            "embedding": lambda: self._vectors(self._embeddings),
            "attention": lambda: self._vectors(self._maps),
        }
        for name in self._plan.metrics:
            made[name] = lambda name=name: self._numbers(name)  # type: ignore[misc]
        for column in self._plan.columns:
            made[column.name] = lambda column=column: self._column(column)  # type: ignore[misc]
        return pa.table([made[each.name]().cast(each.type) for each in self._schema], schema=self._schema)

    def _names(self) -> dict[str, Callable[[], pa.Array]]:
        """Returns the columns that identify the view and the image of a row."""
        images, draws, names = self._images, self._plan.config.draws, self._plan.suite.names
        rest = [None] * (self._count - 1)
        grades = [each.grade for each in self._plan.suite]

        def repeated(of_image: Sequence[object], kind: pa.DataType) -> pa.Array:
            return pa.array([*of_image] * len(images), kind)

        def graded(name: str) -> Callable[[], pa.Array]:
            return lambda: repeated([None, *[getattr(grade, name, None) for grade in grades] * draws], GRADES[name])

        return {
            "image_id": lambda: pa.array([storable(i.sample.image_id) for i in images for _ in range(self._count)]),
            "view": lambda: repeated([ORIGINAL, *names * draws], pa.string()),
            "draw": lambda: repeated([0, *np.repeat(np.arange(draws), len(names))], pa.int32()),
            "view_seed": lambda: pa.array([seed for image in images for seed in image.seeds], pa.int64()),
            "pixels": lambda: pa.array([each for i in images for each in (i.pixels_hash, *rest)], pa.string()),
            "caption": lambda: pa.array([i.sample.caption for i in images for _ in range(self._count)], pa.string()),
            **{name: graded(name) for name in GRADES},
        }

    @property
    def _missing(self) -> NDArray[np.bool_]:
        """Returns which views are missing, bool `[N, 1 + V]`."""
        missing = np.zeros((len(self._images), self._count), bool)
        for row, image in zip(missing, self._images, strict=True):
            row[list(image.missing)] = True
        return missing

    def _vectors(self, arrays: Sequence[Floats]) -> pa.Array:
        """Returns a list of numbers for each row of the first images; null for later ones and for missing views."""
        rows = len(self._images) * self._count
        if not arrays:
            return pa.nulls(rows, pa.list_(pa.float32()))
        flat = np.concatenate(arrays).reshape(len(arrays) * self._count, -1)
        lists = fixed_lists(flat, self._missing.ravel()[: len(flat)])
        return pa.concat_arrays([lists, pa.nulls(rows - len(flat), lists.type)])

    def _numbers(self, name: str, *, unknown_is_null: bool = False) -> pa.Array:
        """Returns a number for each augmented view; null for originals, missing views and missing values."""
        numbers = np.full((len(self._images), self._count), np.nan)
        there = np.zeros(numbers.shape, bool)
        for row, known, values in zip(numbers, there, self._values, strict=True):
            if (measured := values.get(name)) is not None:
                row[1:], known[1:] = measured, True
        null = ~there | self._missing
        if unknown_is_null:
            null |= np.isnan(numbers)
        return pa.array(numbers.ravel(), pa.float64(), mask=null.ravel())

    def _column(self, column: Column) -> pa.Array:
        """Returns a column of a question: lists or numbers, of the original alone, or of all other existing views."""
        name, rest = column.name, [None] * (self._count - 1)
        if column.of == "original":
            found = [values.get(name) for values in self._values]
            if column.length is None:
                cells = [cell for each in found for cell in (None if each is None else float(each), *rest)]
                return pa.array(cells, pa.float64())
            lists = [None if each is None else np.asarray(each, np.float32).ravel() for each in found]
            return pa.array([cell for each in lists for cell in (each, *rest)], pa.list_(pa.float32()))
        if column.length is None:
            return self._numbers(name, unknown_is_null=True)
        # A view without a list has NaN as its first number.
        every = np.full((len(self._images), self._count, column.length), np.nan, np.float32)
        for row, values in zip(every, self._values, strict=True):
            if (measured := values.get(name)) is not None:
                row[1:] = np.asarray(measured, np.float32).reshape(-1, column.length)
        null = self._missing | np.isnan(every).all(axis=2)
        null[:, 0] = True
        return fixed_lists(every.reshape(-1, column.length), null.ravel())
