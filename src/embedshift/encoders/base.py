"""The contract of an encoder: its inputs, its outputs, and its optional abilities."""

import dataclasses
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from embedshift.arrays import Floats, Pixels
from embedshift.config import Precision, Resize, Triple
from embedshift.errors import EmbedshiftError, UsageError

# Maximum side of an image for an encoder; one batch takes some hundred megabytes.
LARGEST = 4096
# Rows of activations that keep a device busy; more only take memory.
TOKENS_PER_BATCH = {"cpu": 2_000, "cuda": 50_000, "mps": 10_000}

AttentionKind = Literal["cls", "pool", "mean"]


@dataclass(frozen=True)
class EncoderOutput:
    """The output of one forward pass over a batch of B views.

    Args:
        embedding: float32 `[B, D]`, not normalised.
        attention: float32 `[B, g_h, g_w]`: softmax weights of the last layer over the patch tokens, averaged over
            heads; None for an encoder without attention.
        attention_kind: Which query the weights belong to: "cls" = the class token, "pool" = the attention-pooling head,
            "mean" = the mean over all query tokens; None without attention.
        observed: Name of an observation → float32 `[B, ...]`; see `Observable`.

    Example:
        >>> output = EncoderOutput(np.zeros((2, 8), np.float32), None, None)
        >>> len(output), output[:1].embedding.shape
        (2, (1, 8))
    """

    embedding: Floats
    attention: Floats | None
    attention_kind: AttentionKind | None
    observed: Mapping[str, Floats] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.embedding)

    def __getitem__(self, part: slice) -> "EncoderOutput":
        return self._with({name: array[part] for name, array in self.arrays().items()})

    def without(self, places: Sequence[int]) -> "EncoderOutput":
        """Returns a copy with NaN for the views at the given places.

        Example:
            >>> EncoderOutput(np.ones((2, 1), np.float32), None, None).without([1]).embedding.ravel().tolist()
            [1.0, nan]
        """
        if not places:
            return self
        kept = ~np.isin(np.arange(len(self)), places)
        arrays = self.arrays().items()
        shaped = {name: kept.reshape(-1, *[1] * (array.ndim - 1)) for name, array in arrays}
        return self._with({name: np.where(shaped[name], array, np.float32(np.nan)) for name, array in arrays})

    def arrays(self) -> dict[str, Floats]:
        """Returns all arrays by name."""
        attention = {} if self.attention is None else {"attention": self.attention}
        return {"embedding": self.embedding, **attention, **self.observed}

    @property
    def layers(self) -> Floats | None:
        """`[B, L, T, W]`: the output of each of L blocks, reduced to T tokens of width W; None unless observed."""
        return self.observed.get("layers")

    @property
    def rollout(self) -> Floats | None:
        """`[B, g_h, g_w]`: attention rolled out through all layers; None unless observed."""
        return self.observed.get("rollout")

    def _with(self, arrays: Mapping[str, Floats]) -> "EncoderOutput":
        observed = {name: arrays[name] for name in self.observed}
        return EncoderOutput(arrays["embedding"], arrays.get("attention"), self.attention_kind, observed)


def concatenate(outputs: Sequence[EncoderOutput]) -> EncoderOutput:
    """Joins the outputs of several forward passes along the batch axis."""
    first = outputs[0]
    return first._with({name: np.concatenate([o.arrays()[name] for o in outputs]) for name in first.arrays()})


def checked_size(name: str, size: Any) -> int:
    """Returns the side of an encoder's square; UsageError unless it is a number of pixels."""
    if not hasattr(size, "__index__") or not 0 < size <= LARGEST:
        raise UsageError(f"{name}: size {size!r:.60} is not one of 1 to {LARGEST} pixels; choose another `size`")
    return operator.index(size)


@dataclass(frozen=True)
class Preprocess:
    """The preprocessing that an encoder expects.

    Args:
        size: Side S of its square input, in pixels.
        mean: Mean of each channel, for values in [0, 1].
        std: Standard deviation of each channel, for values in [0, 1].
        shortest: For `resize="crop"`: length of the shortest side before the centre crop, in pixels; None = `size`.
        resample: For `resize="crop"`: Pillow's number of the filter (2 = bilinear, 3 = bicubic).
        squash: Whether its own library squashes images into the square, where no `resize` decides, or `resize` "own".

    Example:
        >>> Preprocess(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)).at(448).size
        448
    """

    size: int
    mean: Triple
    std: Triple
    shortest: int | None = None
    resample: int = 3
    squash: bool = False

    @classmethod
    def of_user(cls, name: str, size: object, mean: object, std: object) -> "Preprocess":
        """Makes the preprocessing of a user's encoder; UsageError unless mean and std have a number per channel."""
        try:
            numbers = np.array([mean, std], np.float64)
        except (TypeError, ValueError):
            numbers = np.empty(0)
        if numbers.shape != (2, 3) or not np.isfinite(numbers).all() or numbers[1].min() <= 0:
            words = "give three finite numbers each, `std` above 0"
            raise UsageError(f"{name}: `mean` {mean!r:.60}, `std` {std!r:.60}: {words}")
        means, deviations = ((red, green, blue) for red, green, blue in numbers.tolist())
        return cls(checked_size(name, size), means, deviations)

    def square(self, how: Resize | Literal["own"] | None = None) -> Resize:
        """Returns "squash" or "crop": as given, or for None and "own" as the encoder's own library does it."""
        return how if how in ("squash", "crop") else "squash" if self.squash else "crop"

    def at(self, size: int | None) -> "Preprocess":
        """Returns the same preprocessing for another input size; `shortest` scales in proportion."""
        if size is None or size == self.size:
            return self
        shortest = None if self.shortest is None else round(self.shortest * size / self.size)
        return replace(self, size=size, shortest=shortest)


class TokenizerError(EmbedshiftError):
    """A checkpoint has no usable tokenizer, so only its vision part can be used."""


@runtime_checkable
class Encoder(Protocol):
    """The interface of an encoder: an object that turns views into embeddings, for `embedshift.run(model=...)`.

    It may also have the attributes of `EncoderInfo`, which a study records, and the methods of `Observable`,
    `Compilable`, `ReadsText` and the other protocols of this module.

    Attributes:
        name: Name in tables and reports.
        dim: Length D of the embedding.
        grid: Rows and columns of the patch grid `(g_h, g_w)`; None without attention.
        size: Side S of its square input, in pixels.
        mean: Mean of each channel that it normalises with, for values in [0, 1].
        std: Standard deviation of each channel, for values in [0, 1].
        weights_hash: A text that differs whenever the weights differ.
    """

    name: str
    dim: int
    grid: tuple[int, int] | None
    size: int
    mean: Triple
    std: Triple
    weights_hash: str

    def __call__(self, views: Pixels) -> EncoderOutput:
        """Encodes views in one forward pass.

        Args:
            views: RGB uint8 `[B, S, S, 3]`.
        """


@dataclass(frozen=True)
class EncoderInfo:
    """Optional information about an encoder, beyond what `Encoder` requires; None = not given.

    Args:
        preprocess: The preprocessing that it expects; without it, `resize="crop"` crops to the shortest side.
        precision: The precision in which it computes.
        revision: The origin of its weights.
        embedding_name: The name of its embedding, if the encoder family offers several.
        embedding_definition: A description of this embedding.
        attention_kind: As in `EncoderOutput`.
        device: A torch device, or its name.
        configuration: Everything but the weights that decides its numbers, as JSON: settings of its config.json, or a
            hash of its module's structure.
    """

    preprocess: Preprocess | None = None
    precision: Precision | None = None
    revision: str | None = None
    embedding_name: str | None = None
    embedding_definition: str | None = None
    attention_kind: AttentionKind | None = None
    device: Any = None
    configuration: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, encoder: Encoder) -> "EncoderInfo":
        """Collects the optional information of an encoder."""
        return cls(**{info.name: getattr(encoder, info.name, None) for info in dataclasses.fields(cls)})


@runtime_checkable
class Observable(Protocol):
    """An encoder that can add observations to its outputs."""

    def observing(self, names: Collection[str]) -> AbstractContextManager[None]:
        """Context in which every output has `observed[name]` for each name; raises UsageError for an unknown name."""


@runtime_checkable
class Compilable(Protocol):
    """An encoder that can be compiled."""

    def compiling(self, batch: int) -> AbstractContextManager[None]:
        """Context in which forward passes are compiled, for batches of `batch` views."""


@runtime_checkable
class Pipelined(Protocol):
    """An encoder that can start a pass before the previous output is read, to keep its device busy."""

    def begin(self, views: Pixels) -> Callable[[], EncoderOutput]:
        """Starts a pass over views uint8 `[B, S, S, 3]`; the returned function waits for the output and returns it."""


@runtime_checkable
class HasKernels(Protocol):
    """An encoder that can choose kernels, which differ by rounding; a study keeps its first kernels.

    Attributes:
        kernels: Names of the kernels in use; none = torch's own.
    """

    kernels: tuple[str, ...]

    def choose_kernels(self) -> None:
        """Chooses the kernels of a new study on this machine."""

    def use_kernels(self, names: Collection[str]) -> None:
        """Uses exactly these kernels from now on."""


@runtime_checkable
class Differentiable(Protocol):
    """An encoder that gives gradients with respect to pixels."""

    def differentiable(self) -> AbstractContextManager[Any]:
        """The context gives a function from pixels `[B, 3, S, S]`, RGB in [0, 255], to embeddings `[B, D]`."""


@runtime_checkable
class ReadsText(Protocol):
    """An encoder that also encodes texts, into the space of its embeddings."""

    def encode_text(self, texts: Sequence[str]) -> Any:
        """Encodes N texts to `[N, dim]`."""


@runtime_checkable
class TextEncoder(Protocol):
    """An encoder of texts into the space of an image encoder's embeddings."""

    name: str
    dim: int
    weights_hash: str

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Encodes N texts to float32 `[N, D]`, not normalised."""


def usual_batch(device: str, grid: tuple[int, int] | None) -> int:
    """Returns the default number of views per pass, by device and patch grid alone: equal studies have equal batches.

    Example:
        >>> usual_batch("cpu", (7, 7)), usual_batch("cuda:1", (16, 16))
        (40, 194)
    """
    tokens = grid[0] * grid[1] + 1 if grid else 50
    return max(1, TOKENS_PER_BATCH.get(device.partition(":")[0], 2_000) // tokens)
