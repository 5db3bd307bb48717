"""The contract of an encoder: what it is told, what it gives back, and what it may do beyond that."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from embedshift.arrays import Floats, Pixels
from embedshift.config import Precision

# Side of the largest picture that an encoder is given: in one batch, some hundred megabytes.
LARGEST = 4096
# Rows of activations that keep a device busy; more only takes memory.
TOKENS_PER_BATCH = {"cpu": 2_000, "cuda": 50_000, "mps": 10_000}

AttentionKind = Literal["cls", "pool", "mean"]


@dataclass(frozen=True)
class EncoderOutput:
    """What one forward pass gives for a batch of B views.

    Args:
        embedding: float32 `[B, D]`, not normalised.
        attention: float32 `[B, g_h, g_w]`, softmax weights of the last layer to the patch tokens, mean over heads;
            None for an encoder without attention.
        attention_kind: Whose weights they are: "cls" = the CLS token's, "pool" = the attention-pooling head's,
            "mean" = the mean over all query tokens; None without attention.
        observed: Observation → float32 `[B, ...]`, of those that the encoder is observed by (see `Observable`).

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
        """The same of some of the views."""
        return self._with({name: array[part] for name, array in self.arrays().items()})

    def without(self, places: Sequence[int]) -> "EncoderOutput":
        """The same with NaN in the place of some views.

        Example:
            >>> EncoderOutput(np.ones((2, 1), np.float32), None, None).without([1]).embedding.ravel().tolist()
            [1.0, nan]
        """
        if not places:
            return self
        left = ~np.isin(np.arange(len(self)), places)
        arrays = self.arrays().items()
        shaped = {name: left.reshape(-1, *[1] * (array.ndim - 1)) for name, array in arrays}
        return self._with({name: np.where(shaped[name], array, np.float32(np.nan)) for name, array in arrays})

    def contiguous(self) -> "EncoderOutput":
        """The same numbers in the order of C in memory."""
        return self._with({name: np.ascontiguousarray(array) for name, array in self.arrays().items()})

    def arrays(self) -> dict[str, Floats]:
        """What is there, by name."""
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
        return replace(self, embedding=arrays["embedding"], attention=arrays.get("attention"), observed=observed)


def concatenate(outputs: Sequence[EncoderOutput]) -> EncoderOutput:
    """One output of the views of several forward passes."""
    first = outputs[0]
    return first._with({name: np.concatenate([o.arrays()[name] for o in outputs]) for name in first.arrays()})


@dataclass(frozen=True)
class Preprocess:
    """How an encoder wants its images.

    Args:
        size: Side S of its square input, in pixels.
        mean: Per channel, of values in [0, 1].
        std: Per channel, of values in [0, 1].
        shortest: For `resize="crop"`: the shortest side before the centre crop; None = `size`.
        resample: For `resize="crop"`: Pillow's number of the filter (2 = bilinear, 3 = bicubic).

    Example:
        >>> Preprocess(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)).at(448).size
        448
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    shortest: int | None = None
    resample: int = 3

    def at(self, size: int | None) -> "Preprocess":
        """The same at another input size, the shortest side in proportion."""
        if size is None or size == self.size:
            return self
        shortest = None if self.shortest is None else round(self.shortest * size / self.size)
        return Preprocess(size, self.mean, self.std, shortest, self.resample)


@runtime_checkable
class Encoder(Protocol):
    """Anything that turns views into embeddings; `embedshift.run(model=...)` takes any object of this shape.

    It may also have the attributes of `EncoderInfo`, which are recorded, and what `Observable`, `Compilable` and
    `ReadsText` ask for.
    """

    name: str
    dim: int
    grid: tuple[int, int] | None
    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    weights_hash: str

    def __call__(self, views: Pixels) -> EncoderOutput:
        """Encodes views uint8 `[B, S, S, 3]`, RGB, in one forward pass."""
        ...


@dataclass(frozen=True)
class EncoderInfo:
    """What an encoder may say of itself, beyond what `Encoder` asks for; None where it does not.

    Args:
        preprocess: How it wants its images; else `resize="crop"` crops to the shortest side.
        precision: What it computes in.
        revision: Where its weights came from.
        embedding_name: Which of several embeddings it gives.
        embedding_definition: What this is, in words.
        attention_kind: As `EncoderOutput.attention_kind`.
        device: A torch device, or its name.
    """

    preprocess: Preprocess | None = None
    precision: Precision | None = None
    revision: str | None = None
    embedding_name: str | None = None
    embedding_definition: str | None = None
    attention_kind: AttentionKind | None = None
    device: Any = None

    @classmethod
    def of(cls, encoder: Encoder) -> "EncoderInfo":
        """What an encoder says.

        Example:
            >>> class Mine: precision = "bfloat16"
            >>> EncoderInfo.of(Mine()).precision
            'bfloat16'
        """
        return cls(**{each.name: getattr(encoder, each.name, None) for each in dataclasses.fields(cls)})


@runtime_checkable
class Observable(Protocol):
    """An encoder that can give more with every output."""

    def observing(self, names: Collection[str]) -> AbstractContextManager[None]:
        """While entered, every output has `observed[name]` for each of the names; raises UsageError for an unknown."""
        ...


@runtime_checkable
class Compilable(Protocol):
    """An encoder that can be compiled."""

    def compiling(self, batch: int) -> AbstractContextManager[None]:
        """While entered, forward passes are compiled for batches of so many views."""
        ...


@runtime_checkable
class Pipelined(Protocol):
    """An encoder that can begin a pass before the output of the one before is read, so that its device never waits."""

    def begin(self, views: Pixels) -> Callable[[], EncoderOutput]:
        """Begins a pass over views uint8 `[B, S, S, 3]`; what is returned waits for its output and gives it."""
        ...


@runtime_checkable
class HasKernels(Protocol):
    """An encoder that chooses among kernels, which differ by rounding: a study goes on with those it began with."""

    @property
    def kernels(self) -> tuple[str, ...]:
        """The names of those at work."""
        ...

    def taking(self, kernels: Collection[str]) -> AbstractContextManager[None]:
        """While entered, these are at work."""
        ...


@runtime_checkable
class Differentiable(Protocol):
    """An encoder that gives gradients with respect to pixels."""

    def differentiable(self) -> AbstractContextManager[Any]:
        """While entered, what is given maps pixels `[B, 3, S, S]`, RGB in [0, 255], to embeddings `[B, D]`."""
        ...


@runtime_checkable
class ReadsText(Protocol):
    """An encoder that reads texts too, into the space of its embeddings."""

    def encode_text(self, texts: Sequence[str]) -> Any:
        """Encodes N texts, `[N, dim]`."""
        ...


@runtime_checkable
class TextEncoder(Protocol):
    """What turns texts into vectors that can be compared with an encoder's embeddings."""

    name: str
    dim: int
    weights_hash: str

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Encodes N texts, float32 `[N, D]`, not normalised."""
        ...


def usual_batch(device: str, grid: tuple[int, int] | None) -> int:
    """Views per forward pass where the user names none, by device and encoder alone: equal studies, equal batches.

    Example:
        >>> usual_batch("cpu", (7, 7)), usual_batch("cuda:1", (16, 16))
        (40, 194)
    """
    tokens = grid[0] * grid[1] + 1 if grid else 50
    return max(1, TOKENS_PER_BATCH.get(device.partition(":")[0], 2_000) // tokens)
