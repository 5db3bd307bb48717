"""What explains the distance between a reference and the vectors of another stack."""

import contextlib
import dataclasses
import functools
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
import torch

from embedshift.arrays import Floats, Values
from embedshift.encoders.module import ModuleEncoder
from embedshift.stacks.network import Network
from embedshift.stacks.preprocessing import Inputs
from embedshift.stacks.recipe import OF_NETWORK, Recipe, axes_of, described, recipe_of, words
from embedshift.stacks.search import Search, distance
from embedshift.statistics.vectors import unit

log = logging.getLogger(__name__)

# The search tries nothing new after so many passes of one image.
MOST = 1_600
# Float32 kernels of one machine differ by less; a measured floor gets this room.
LEAST_FLOOR, ROOM = 1e-10, 10.0
# A rest within this factor of what a precision moves is said to be like it.
LIKE = 3.0


@dataclass(frozen=True)
class Step:
    """An alteration of the reference's steps that brings its vectors nearer to the served ones.

    `alteration` names it in words ("without antialiasing"); `ties` are the alterations that give the same vectors on
    these images. Distances are means of 1 − cosine in float64; `explained` is the fraction of the first distance.
    """

    alteration: str
    distance_before: float
    distance_after: float
    explained: float
    ties: tuple[str, ...] = ()


@dataclass(frozen=True)
class Causes:
    """The named steps; what they leave unexplained (mean of 1 − cosine); the measured floor of rounding; a remark."""

    steps: tuple[Step, ...]
    distance: float
    unexplained: float
    floor: float
    note: str = ""


class Encodings:
    """The vectors of recipes for files; each input goes once through each network."""

    def __init__(self, encoder: ModuleEncoder, files: Sequence[bytes]) -> None:
        self.inputs, self.network = Inputs(files), Network(encoder)
        self.reference = recipe_of(encoder, self.network.gelu)
        self.axes = axes_of(self.reference, self.network.axes)
        # An input is made for its key, and wanted again at once where its key is new.
        self.input = functools.lru_cache(1)(self.inputs.__call__)
        self.hash = functools.cache(lambda r, i: hashlib.blake2b(self.input(r, i).tobytes()).digest()[:16])
        self.passes: dict[tuple[object, ...], dict[str, Values]] = {}

    def key(self, recipe: Recipe, index: int) -> bytes:
        """A hash of the input of a network."""
        return self.hash(_of_pixels(recipe), index)

    def vector(self, recipe: Recipe, index: int) -> Values | None:
        """The unit vector of one file; None where the encoder cannot follow the recipe."""
        altered = [getattr(recipe, axis) for axis in OF_NETWORK]
        key = (self.key(recipe, index), *altered)
        if key not in self.passes:
            self.passes[key] = {}
            with contextlib.suppress(Exception):  # a size that its positions cannot take
                vectors = self.network(self.input(_of_pixels(recipe), index)[None], *altered)
                self.passes[key] = {name: unit(vector[0]) for name, vector in vectors.items()}
        return self.passes[key].get(recipe.pooling)

    def floor(self) -> float:
        """The measured distance of rounding: between passes over one input and over several."""
        inputs = np.stack([self.inputs(self.reference, index) for index in range(len(self.inputs.files))[:3]])
        units = unit(self.network(inputs, *(getattr(self.reference, axis) for axis in OF_NETWORK))["own"])
        alone = [self.vector(self.reference, index) for index in range(len(units))]
        return max(LEAST_FLOOR, ROOM * max(map(distance, units, alone)))


def _of_pixels(recipe: Recipe) -> Recipe:
    """Returns a recipe without what its network does: equal for recipes with the same inputs."""
    return dataclasses.replace(recipe, pooling="", precision="", gelu="", positions="")


def knows_steps(encoder: object) -> TypeGuard[ModuleEncoder]:
    """Whether the steps of an encoder are known, so that a cause can be named against it."""
    return isinstance(encoder, ModuleEncoder) and encoder.precision == "float32"


def reference_vectors(encoder: ModuleEncoder, files: Sequence[bytes]) -> Floats:
    """Encodes files through the encoder's own steps, `[N, D]`, not normalised."""
    inputs, recipe = Inputs(files), recipe_of(encoder, None)
    with torch.inference_mode(), encoder.tower.taps.silent():
        pixels = (torch.from_numpy(inputs(recipe, index))[None] for index in range(len(files)))
        vectors = [encoder.embed(encoder.module, image.to(encoder.device)) for image in pixels]
    return np.asarray(torch.cat(vectors).float().cpu().numpy())


def find_causes(encoder: ModuleEncoder, files: Sequence[bytes], served: Floats, *, floor: float | None = None) -> Causes:
    """Names the alterations of an encoder's own steps that explain the vectors `[N, D]` that a stack gives for files.

    `floor` is the distance that is rounding; None = measured.
    """
    encodings = Encodings(encoder, files)
    floor = encodings.floor() if floor is None else floor
    units = unit(served)
    log.info("steps of %s: %s", encoder.name, described(encodings.reference))

    def on_step(recipe: Recipe, distance: float) -> None:
        steps = [words(axis, getattr(recipe, axis)) for axis in recipe.differences(encodings.reference)]
        log.info("%d encodings: mean 1 − cosine %.2g %s", len(encodings.passes), distance, ", ".join(steps))

    search = Search(
        encodings.vector, encodings.key, units, encodings.reference, encodings.axes, floor, on_step,
        is_spent=lambda: len(encodings.passes) >= MOST,
    )  # fmt: skip
    first = left = search.distance(search.reference, search.everything)
    steps = []
    for (axis, values), after in search.walk(search.named(search.run())) if first > floor else ():
        best, *ties = (words(axis, value) for value in values)
        steps.append(Step(best, left, after, (left - after) / first, tuple(ties)))
        left = after
    notes = [_note(search, left)] if left > floor else []
    if len(encodings.passes) >= MOST:
        notes.append(f"the search ended after {len(encodings.passes):,} encodings")
    return Causes(tuple(steps), first, left, floor, "; ".join(filter(None, notes)))


def _note(search: Search, unexplained: float) -> str:
    """Says which precisions move the vectors about as far as what is left."""
    like = []
    for value in search.axes["precision"]:
        size = search.apart(search.reference, search.reference.having("precision", value), search.screen)
        if size / LIKE < unexplained < size * LIKE:
            like.append(f"{value} ({size:.1g})")
    return f"what is left is as large as rounding to {' or '.join(like)}" if like else ""
