"""Makes the rows of a study from measurements, and the metrics of pairs of originals, for their baselines."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedshift.arrays import Floats, Pixels, Values
from embedshift.augmentations import ORIGINAL
from embedshift.encoders.base import EncoderOutput, concatenate
from embedshift.pipeline.drawn import DrawnImage
from embedshift.pipeline.measure import Column, Measure, Sums
from embedshift.pipeline.plan import Plan
from embedshift.sources import ImageRef
from embedshift.sources.base import storable
from embedshift.statistics.baselines import KEPT
from embedshift.store.shards import LEVEL_COLUMNS, fixed_lists, schema

# Maximum pairs of a study; pairs per image in a large study.
LEAST_PAIRS, IMAGES_PER_PAIR = 200, 16
# Originals kept for pairs: their views stay in memory until the shard ends.
MOST_KEPT = 64

Original = tuple[ImageRef, Pixels, EncoderOutput]


class Rows:
    def __init__(self, plan: Plan) -> None:
        self._schema, self._plan = _schema(plan), plan
        self._count = 1 + plan.views
        self.images: list[DrawnImage] = []
        self._embeddings: list[Floats] = []
        self._maps: list[Floats] = []
        self._values: list[Mapping[str, Values]] = []

    def add(self, image: DrawnImage, output: EncoderOutput, values: Mapping[str, Values]) -> None:
        everything = self._plan.config.store == "all"
        if output.attention is not None and (everything or not self._maps):
            # Maps stored for figures by a study without vectors; more would dominate its size.
            self._maps.append(output.attention)
        if everything:
            self._embeddings.append(output.embedding)
        self.images.append(image.without_pixels())
        self._values.append(values)

    def table(self) -> pa.Table:
        if not self.images:
            return self._schema.empty_table()
        cells = self._names() | {
            "embedding": self._vectors(self._embeddings),
            "attention": self._vectors(self._maps),
            **{name: self._numbers(name) for name in self._plan.metrics},
            **{column.name: self._column(column) for column in self._plan.columns},
        }
        return pa.table([cells[field.name].cast(field.type) for field in self._schema], schema=self._schema)

    def _names(self) -> dict[str, pa.Array]:
        images, draws, names = self.images, self._plan.config.draws, self._plan.suite.names
        rest = [None] * (self._count - 1)
        levels = [augmentation.level for augmentation in self._plan.suite]
        places = [(level.family, level.number, level.parameter) if level else (None, None, None) for level in levels]
        of_levels = zip(LEVEL_COLUMNS.items(), zip(*[(None, None, None), *places * draws], strict=True), strict=True)

        def repeated(cells: Sequence[object], kind: pa.DataType) -> pa.Array:
            return pa.array([*cells] * len(images), kind)

        return {
            "image_id": pa.array([storable(image.sample.image_id) for image in images for _ in range(self._count)]),
            "view": repeated([ORIGINAL, *names * draws], pa.string()),
            "draw": repeated([0, *np.repeat(np.arange(draws), len(names))], pa.int32()),
            "view_seed": pa.array([seed for image in images for seed in image.seeds], pa.int64()),
            "pixels": pa.array([cell for image in images for cell in (image.pixels_hash, *rest)], pa.string()),
            "caption": pa.array([image.sample.caption for image in images for _ in range(self._count)], pa.string()),
            **{name: repeated(cells, kind) for (name, kind), cells in of_levels},
        }

    @property
    def _missing(self) -> NDArray[np.bool_]:
        missing = np.zeros((len(self.images), self._count), bool)
        for row, image in zip(missing, self.images, strict=True):
            row[list(image.missing)] = True
        return missing

    def _vectors(self, arrays: Sequence[Floats]) -> pa.Array:
        """Returns a list of numbers for each row of the first images; null for later ones and missing views."""
        rows = len(self.images) * self._count
        if not arrays:
            return pa.nulls(rows, pa.list_(pa.float32()))
        flat = np.concatenate(arrays).reshape(len(arrays) * self._count, -1)
        lists = fixed_lists(flat, self._missing.ravel()[: len(flat)])
        return pa.concat_arrays([lists, pa.nulls(rows - len(flat), lists.type)])

    def _numbers(self, name: str, *, unknown_is_null: bool = False) -> pa.Array:
        """Returns a number for each augmented view; null for originals, missing views and missing values."""
        numbers = np.full((len(self.images), self._count), np.nan)
        has_value = np.zeros(numbers.shape, bool)
        for row, row_has_value, values in zip(numbers, has_value, self._values, strict=True):
            if (measured := values.get(name)) is not None:
                row[1:], row_has_value[1:] = measured, True
        null = ~has_value | self._missing
        if unknown_is_null:
            null |= np.isnan(numbers)
        return pa.array(numbers.ravel(), pa.float64(), mask=null.ravel())

    def _column(self, column: Column) -> pa.Array:
        """Returns a column of a question: lists or numbers of the original, of all other existing views, or of all."""
        name, rest = column.name, [None] * (self._count - 1)
        if column.of == "original":
            per_image = [values.get(name) for values in self._values]
            if column.length is None:
                cells = [cell for value in per_image for cell in (None if value is None else float(value), *rest)]
                return pa.array(cells, pa.float64())
            lists = [None if value is None else np.asarray(value, np.float32).ravel() for value in per_image]
            return pa.array([cell for numbers in lists for cell in (numbers, *rest)], pa.list_(pa.float32()))
        if column.length is None:
            return self._numbers(name, unknown_is_null=True)
        # A view without a list has NaN as its first number.
        every = np.full((len(self.images), self._count, column.length), np.nan, np.float32)
        for row, values in zip(every, self._values, strict=True):
            if (measured := values.get(name)) is not None:
                row[column.of == "views" :] = np.asarray(measured, np.float32).reshape(-1, column.length)
        null = self._missing | np.isnan(every).all(axis=2)
        return fixed_lists(every.reshape(-1, column.length), null.ravel())


def _schema(plan: Plan) -> pa.Schema:
    cells = None if plan.encoder.grid is None else plan.encoder.grid[0] * plan.encoder.grid[1]
    dim = plan.encoder.dim if plan.config.store == "all" else None
    numbers = [column.name for column in plan.columns if column.length is None]
    lists = {
        column.name: column.length if column.of != "original" else None
        for column in plan.columns
        if column.length is not None
    }
    return schema(dim, cells, [*plan.metrics, *numbers], lists, has_levels=plan.suite.has_levels)


def pair_count(shard_images: int, study_images: int) -> int:
    count = -(-LEAST_PAIRS * shard_images // max(1, study_images))
    return min(max(count, shard_images // IMAGES_PER_PAIR), shard_images * (shard_images - 1) // 2)


def plan_of_sums(plan: Plan, shard: int) -> Plan:
    """Returns the plan for the sums of a shard, fine enough for an end at this shard by `until`."""
    return replace(plan, images=min(plan.images, max(KEPT + 1, (shard + 1) * plan.shard_size)))


def index_pairs(count: int) -> Iterator[tuple[int, int]]:
    for lag in range(1, count):
        for first in (*range(0, count - lag, 2), *range(1, count - lag, 2)):
            yield first, first + lag


class SampledPairs(Sums):
    def __init__(self, measures: Sequence[Measure], plan: Plan, images: int) -> None:
        self.measures, self.plan = measures, plan
        self.pairs = pair_count(images, plan.images)
        self._most = min(MOST_KEPT, 2 * self.pairs)
        self._originals: list[Original] = []

    def add(self, image: DrawnImage, output: EncoderOutput) -> None:
        if len(self._originals) < self._most:
            # Copies, because a slice keeps the whole array in memory: 14 MB for an image of 92 views.
            self._originals.append((image.sample, image.views[0].copy(), concatenate([output[:1]])))

    def close(self) -> Mapping[str, Values]:
        pairs = list(itertools.islice(index_pairs(len(self._originals)), self.pairs))
        measured = [self._measure(self._originals[first], self._originals[second]) for first, second in pairs]
        values = np.array([[row.get(name, np.nan) for name in self.plan.metrics] for row in measured], np.float64)
        return {} if np.isnan(values).all() else {"values": values, "images": np.array(pairs, np.float64)}

    def _measure(self, first: Original, second: Original) -> dict[str, float]:
        (sample, view, output), (other_sample, other_view, other_output) = first, second
        views, outputs = np.stack([view, other_view]), concatenate([output, other_output])
        values: dict[str, float] = {}
        for measure in self.measures:
            values |= measure.of_pair(views, outputs, (sample, other_sample), self.plan)
        return values
