"""What explains the distance between a reference and the vectors of another stack."""

import contextlib
import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embedshift.arrays import Floats, Values
from embedshift.encoders.base import Encoder
from embedshift.encoders.module import ModuleEncoder
from embedshift.encoders.timing import noise
from embedshift.errors import UsageError
from embedshift.parity.network import Network
from embedshift.parity.preprocessing import Inputs
from embedshift.parity.recipe import OF_NETWORK, Recipe, axes_of, recipe_of, words
from embedshift.parity.search import Search
from embedshift.statistics.vectors import cosine

# Float32 kernels of one machine differ by less; the measured floor gets this room.
LEAST_FLOOR, ROOM = 1e-10, 10.0
# A rest within this factor of what a precision moves is said to be like it.
LIKE = 2.5


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
    """The vectors of recipes for files; each input goes through each network once."""

    def __init__(self, encoder: ModuleEncoder, files: Sequence[bytes]) -> None:
        self.inputs, self.network = Inputs(files), Network(encoder)
        library = type(encoder.module).__module__.partition(".")[0]
        self.reference = recipe_of(encoder.preprocess, library, self.network.gelu)
        self.count = 0
        self._keys: dict[tuple[Recipe, int], str] = {}
        self._vectors: dict[tuple[str, ...], dict[str, Values]] = {}

    def key(self, recipe: Recipe, index: int) -> str:
        """A hash of a network's input."""
        return self._key_and_input(recipe, index)[0]

    def vector(self, recipe: Recipe, index: int) -> Values | None:
        """The unit vector of one file; None where the encoder cannot follow the recipe."""
        key, made = self._key_and_input(recipe, index)
        altered = tuple(getattr(recipe, axis) for axis in OF_NETWORK)
        if (key, *altered) not in self._vectors:
            self.count += 1
            with contextlib.suppress(Exception):  # an input size that it cannot take
                made = self.inputs(recipe, index) if made is None else made
                vectors = self.network(made, *altered)
                self._vectors[key, *altered] = {name: v / np.linalg.norm(v) for name, v in vectors.items()}
            self._vectors.setdefault((key, *altered), {})
        return self._vectors[key, *altered].get(recipe.pooling)

    def _key_and_input(self, recipe: Recipe, index: int) -> tuple[str, Floats | None]:
        of_input = dataclasses.replace(recipe, pooling="", precision="", gelu="", positions=""), index
        if of_input in self._keys:
            return self._keys[of_input], None
        made = self.inputs(recipe, index)
        digest = hashlib.blake2b(made.tobytes(), digest_size=16).hexdigest()
        self._keys[of_input] = f"{digest} {recipe.size}"
        return self._keys[of_input], made


def knows_steps(encoder: Encoder) -> bool:
    """Whether the steps of an encoder are known, so that a cause can be named against it."""
    return isinstance(encoder, ModuleEncoder) and encoder.precision == "float32"


def reference_vectors(encoder: Encoder, files: Sequence[bytes]) -> Floats:
    """Encodes files through the encoder's own steps, `[N, D]`, not normalised."""
    encodings = _encodings(encoder, files)
    made = [encodings.inputs(encodings.reference, index) for index in range(len(files))]
    altered = [getattr(encodings.reference, axis) for axis in OF_NETWORK]
    return np.stack([encodings.network(value, *altered)["own"] for value in made]).astype(np.float32)


def find_causes(encoder: Encoder, files: Sequence[bytes], served: Floats, *, floor: float | None = None) -> Causes:
    """Names the alterations of an encoder's own steps that explain served vectors.

    Args:
        encoder: The reference; see `knows_steps`.
        files: Images as bytes of files.
        served: The vectors `[N, D]` that another stack gives for them.
        floor: The distance that is rounding; None = measured.
    """
    encodings = _encodings(encoder, files)
    floor = max(LEAST_FLOOR, _measured_floor(encodings)) if floor is None else floor
    return search_causes(encodings, served, floor)


def search_causes(encodings: Encodings, served: Floats, floor: float) -> Causes:
    """As `find_causes`, with encodings that may serve again."""
    units = np.asarray(served, np.float64)
    units = units / np.linalg.norm(units, axis=1, keepdims=True)
    reference, axes = encodings.reference, axes_of(encodings.reference, encodings.network.axes)
    search = Search(encodings.vector, encodings.key, units, reference, axes, floor)
    distance = unexplained = search.distance(reference, search.everything)
    if distance <= floor:
        return Causes((), distance, distance, floor)
    steps = []
    for name, after in search.walk(search.named(search.run())):
        first, *ties = (words(reference.having(name.axis, value), name.axis) for value in name.values)
        steps.append(Step(first, unexplained, after, (unexplained - after) / distance, tuple(ties)))
        unexplained = after
    return Causes(tuple(steps), distance, unexplained, floor, _note(search, unexplained))


def _note(search: Search, unexplained: float) -> str:
    """Says which precision moves the vectors about as far as what is left."""
    if unexplained <= search.floor:
        return ""
    sizes = {}
    for value in search.axes["precision"]:
        altered = search.reference.having("precision", value)
        size = search.apart(search.reference, altered, search.screen)
        if value != search.reference.precision and size / LIKE < unexplained < size * LIKE:
            sizes[value] = size
    return "; ".join(f"what is left is like rounding to {value} ({size:.1g})" for value, size in sizes.items())


def _encodings(encoder: Encoder, files: Sequence[bytes]) -> Encodings:
    if not isinstance(encoder, ModuleEncoder):
        raise UsageError(f"{encoder.name}: its steps are not known, so it cannot be the reference of a search")
    return Encodings(encoder, files)


def _measured_floor(encodings: Encodings) -> float:
    """The distance between passes over one image and over several."""
    encoder, reference = encodings.network.encoder, encodings.reference
    views = noise(3, encoder.size)
    mean, std = (np.asarray(triple, np.float32) for triple in reference.statistics)
    inputs = ((views.astype(np.float32) / 255 - mean) / std).transpose(0, 3, 1, 2)
    altered = [getattr(reference, axis) for axis in OF_NETWORK]
    alone = np.stack([encodings.network(np.ascontiguousarray(value), *altered)["own"] for value in inputs])
    return ROOM * float(np.max(1 - cosine(encoder(views).embedding.astype(np.float64), alone)))
