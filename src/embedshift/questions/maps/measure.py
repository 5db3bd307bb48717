"""Explanation maps of originals and views: comparisons, and scores of how well they identify important patches."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import Floats, Pixels, Values
from embedshift.config import Json
from embedshift.errors import UsageError
from embedshift.pipeline.measure import Column, Measure, StudySwitches
from embedshift.questions.maps import (
    ALIGNED,
    ALIGNED_CORRELATION,
    ATTENTION,
    CHOICES,
    COMPARISONS,
    CORRELATION,
    DIVERGENCE,
    RANDOM,
    SCORES,
    SIMILARITY,
    Switches,
    column_of,
    map_columns,
)
from embedshift.registry import unknown_name
from embedshift.registry.extras import cv2
from embedshift.statistics.maps import aligned_likeness, correlation, divergence, map_likeness, scaled_map

if TYPE_CHECKING:
    from embedshift.encoders.base import EncoderOutput
    from embedshift.pipeline.drawn import DrawnImage

# Equal parts of the patches that are removed or shown one after the other.
STEPS = 10
# What a patch is replaced by: the image blurred by a Gaussian whose sigma is this fraction of its side.
BLUR = 0.1
# Targets other than words.
IMAGE, CAPTION = "image", "caption"
# What moving leaves of a map without contrast, scaled to [0, 1], is rounding of float32.
CONSTANT = 1e-6


def compare(name: str, before: Floats, after: Floats, moved: Sequence[Values], size: int) -> dict[str, Values]:
    resized = [scaled_map(view, size) for view in after]
    pairs = list(zip(moved, resized, strict=True))
    comparisons: Mapping[str, Callable[[], Any]] = {
        SIMILARITY: lambda: map_likeness(before[None], after, size),
        ALIGNED: lambda: np.array([aligned_likeness(a, b) for a, b in pairs]),
        DIVERGENCE: lambda: divergence(before[None], after),
        CORRELATION: lambda: correlation(before[None], after),
        ALIGNED_CORRELATION: lambda: np.array([correlation(a, b, CONSTANT) for a, b in pairs]),
    }
    return {column_of(name, metric): np.asarray(comparisons[metric]()) for metric in COMPARISONS[name]}


def blurred(original: Pixels) -> Pixels:
    return np.asarray(cv2.GaussianBlur(original, (0, 0), BLUR * len(original)), np.uint8)


def ranks(values: ArrayLike, ties: NDArray[np.intp]) -> NDArray[np.intp]:
    """Returns the rank of every patch, from 0 for the most relevant; the permutation `ties` orders equal ones."""
    flat = np.asarray(values, np.float64).ravel()
    rank = np.empty(len(flat), np.intp)
    rank[np.lexsort((ties, -flat))] = np.arange(len(flat))
    return rank.reshape(np.shape(values))


def random_order(seed: int, image_id: str, cells: int) -> NDArray[np.intp]:
    name = image_id.encode("utf-8", "surrogateescape")
    return np.random.default_rng([seed, *name]).permutation(cells)


def partial_images(original: Pixels, patch_ranks: NDArray[np.intp]) -> Pixels:
    """Returns the image without its first patches, and with only these: for 1 to `STEPS` - 1 parts of them."""
    size, background = len(original), blurred(original)
    rows, columns = (np.arange(size) * cells // size for cells in patch_ranks.shape)
    pixel_ranks = patch_ranks[np.ix_(rows, columns)]
    first = [pixel_ranks < patch_ranks.size * step / STEPS for step in range(1, STEPS)]
    hidden = [*first, *(~mask for mask in first)]
    return np.stack([np.where(mask[..., None], background, original) for mask in hidden])


def areas(cosines: ArrayLike, original: float, background: float) -> dict[str, float]:
    """Returns deletion and insertion: the area below the cosine over the fraction of patches removed, or shown."""
    deletion, insertion = np.split(np.asarray(cosines, np.float64), 2)
    ends = (original + background) / 2
    return {name: float((part.sum() + ends) / STEPS) for name, part in zip(SCORES, (deletion, insertion), strict=True)}


class MEASURE(Measure):
    in_float32 = True

    def __init__(self, study: StudySwitches) -> None:
        super().__init__(study)
        config, switches = study.config, study.config.of(Switches)
        for name in switches.maps:
            if name not in CHOICES:
                raise UsageError(f"maps: {unknown_name('map', name, CHOICES)}")
        self.names = tuple(name for name in CHOICES if name in switches.maps)
        self.target_setting = switches.maps_target.strip()
        if config.precision not in ("float32", "auto") or config.compile:
            setting = "compile" if config.compile else "precision"
            raise UsageError(f"`maps` need gradients, which are accurate only in float32; run without `{setting}`")
        if not self.names:
            raise UsageError("choose the maps as well: `maps` relevance,tokens")
        if switches.maps_images < 1:
            raise UsageError("`maps_images`: give a number of at least 1")
        if not self.target_setting:
            raise UsageError("`maps_target`: give image, caption, or your own text")
        is_free = self.target_setting != CAPTION
        candidates = [image for image in study.samples if is_free or (image.caption or "").strip()]
        if not candidates:
            raise UsageError("`maps_target` caption: no image has a caption")
        self.images = study.drawn(switches.maps_images, candidates)
        self.count = len(self.images)
        self.suite, self.draws, self.seed = study.suite, config.draws, config.seed
        self.grid, self.has_attention, self.tower = (0, 0), False, ""
        self.target: Values | None = None
        self.captions: Mapping[str, Values] = {}

    @property
    def all_names(self) -> tuple[str, ...]:
        return (*([ATTENTION] if self.has_attention else []), *self.names)

    def identity(self) -> Json:
        asked: Json = {"maps": list(self.names), "images": self.count, "target": self.target_setting}
        made: Json = {"tower": self.tower, "steps": STEPS, "blur": BLUR, "grid": list(self.grid)}
        return asked | made | {"attention": self.has_attention}

    def columns(self, probe: "EncoderOutput | None") -> Sequence[Column]:
        cells = self.grid[0] * self.grid[1]
        columns: list[Column] = []
        for name in self.all_names:
            view_column, original_column = map_columns(name)
            columns += [Column(view_column, cells), Column(original_column, cells, of="original")]
            columns += [Column(column_of(name, metric), None) for metric in COMPARISONS[name]]
        scored = (*self.all_names, RANDOM)
        columns += [Column(column_of(name, kind), None, of="original") for name in scored for kind in SCORES]
        return [dataclasses.replace(column, images=self.count) for column in columns]

    def columns_from_maps(self, image: "DrawnImage", maps: Mapping[str, Floats]) -> dict[str, Values]:
        size, values = image.views.shape[1], dict[str, Values]()
        for name, view_maps in maps.items():
            view_column, original_column = map_columns(name)
            flat = view_maps.reshape(len(view_maps), -1).astype(np.float64)
            values[view_column], values[original_column] = flat[1:], flat[0]
            before = scaled_map(view_maps[0], size)
            drawn = zip([*self.suite] * self.draws, image.seeds[1:], strict=True)
            moved = [image.canvas.warp(augmentation, before, seed) for augmentation, seed in drawn]
            values |= compare(name, view_maps[0], view_maps[1:], moved, size)
        return values

    def orders(self, image_id: str, maps: Mapping[str, Floats]) -> dict[str, NDArray[np.intp]]:
        cells = self.grid[0] * self.grid[1]
        random_ranks = random_order(self.seed, image_id, cells)
        orders = {name: ranks(view_maps[0], random_ranks) for name, view_maps in maps.items()}
        return orders | {RANDOM: random_ranks.reshape(self.grid)}
