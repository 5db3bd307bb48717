"""The contract of an encoder: what it is told, what it gives back."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from types import CodeType
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

AttentionKind = Literal["cls", "pool", "mean"]
Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class EncoderOutput:
    """What one forward pass gives for a batch of B views.

    Args:
        embedding: float32 `[B, D]`, not normalised.
        attention: float32 `[B, g_h, g_w]`, softmax weights of the last layer to the patch tokens, mean over heads;
            None for an encoder without attention.
        attention_kind: Whose weights they are: "cls" = the CLS token's, "pool" = the attention-pooling head's,
            "mean" = the mean over all query tokens; None without attention.
        layers: float32 `[B, L, T, W]`, the output of each of L blocks, reduced to T tokens of width W; None unless
            the encoder was told to give it.
        rollout: float32 `[B, g_h, g_w]`, attention rolled out through all layers; None unless the encoder was told to
            give it.

    Example:
        >>> output = EncoderOutput(np.zeros((2, 8), np.float32), None, None)
        >>> len(output), output[:1].embedding.shape
        (2, (1, 8))
    """

    embedding: NDArray[np.float32]
    attention: NDArray[np.float32] | None
    attention_kind: AttentionKind | None
    layers: NDArray[np.float32] | None = None
    rollout: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.embedding)

    def __getitem__(self, part: slice) -> "EncoderOutput":
        """The same of some of the views."""
        return replace(self, **{name: array[part] for name, array in self.arrays().items()})

    def arrays(self) -> dict[str, Any]:
        """What is there, by name."""
        return {f.name: array for f in fields(self) if isinstance(array := getattr(self, f.name), np.ndarray)}


def concatenate(outputs: Sequence[EncoderOutput]) -> EncoderOutput:
    """One output of the views of several forward passes."""
    first = outputs[0]
    joined: dict[str, Any] = {name: np.concatenate([o.arrays()[name] for o in outputs]) for name in first.arrays()}
    return replace(first, **joined)


@dataclass(frozen=True)
class Preprocess:
    """How an encoder wants its pictures.

    Args:
        size: Side S of its square input, in pixels.
        mean: Per channel, of values in [0, 1].
        std: Per channel, of values in [0, 1].
        shortest: For `--resize crop`: the shortest side before the centre crop; None = `size`.
        resample: For `--resize crop`: Pillow's number of the filter (2 = bilinear, 3 = bicubic).

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

    An encoder may also have `preprocess: Preprocess` (else `--resize crop` crops to the shortest side), `revision`,
    `precision`, `embedding_name` and `embedding_definition`, each a `str` that is recorded. One that can give more than
    embedding and attention is `Observable`; one that reads text has a method `encode_text(texts) -> [N, dim]`, whose
    vectors are in the space of its embeddings.
    """

    name: str
    dim: int
    grid: tuple[int, int] | None
    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    weights_hash: str

    def __call__(self, views: NDArray[np.uint8]) -> EncoderOutput:
        """Encodes views uint8 `[B, S, S, 3]`, RGB, in one forward pass."""
        ...


@runtime_checkable
class Observable(Encoder, Protocol):
    """An encoder that can be told to give more with every output.

    Once it is told to give `layers`, `depth` is their number L and `layer_tokens` names their tokens: `("cls",
    "patches")`, or `("patches",)` without a class token.
    """

    @property
    def depth(self) -> int:
        """Number L of layers; 0 unless it was told to give them."""
        ...

    @property
    def layer_tokens(self) -> tuple[str, ...]:
        """Names of the T tokens of every layer."""
        ...

    def observe(self, *, layers: bool = False, rollout: bool = False) -> None:
        """Tells the encoder what to give from now on beside embedding and attention."""
        ...


@runtime_checkable
class TextEncoder(Protocol):
    """What turns texts into vectors that can be compared with an encoder's embeddings."""

    name: str
    dim: int
    weights_hash: str

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encodes N texts, float32 `[N, D]`, not normalised."""
        ...


def code_of(function: Any, besides: str = "") -> str:
    """What tells one function of the user's own from another: its name, and a hash of its code and of `besides`.

    Of an object that can be called, its class and the code of its `__call__`; of None, "output".

    Example:
        >>> len({code_of(f) for f in (lambda x: x + 1, lambda x: x + 2, lambda x: x * 2)})
        3
    """
    name = "output" if function is None else getattr(function, "__qualname__", type(function).__qualname__)
    called = function if hasattr(function, "__code__") else type(function).__call__
    text = f"{besides}{_instructions(getattr(called, '__code__', None))}"
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _instructions(code: Any) -> Any:
    """A function's instructions, names and constants, those of functions inside it too; of a constant, its text."""
    if isinstance(code, frozenset):
        return sorted(map(repr, code))  # its own order changes from run to run
    if not isinstance(code, CodeType):
        return repr(code)
    return code.co_code, code.co_names, [_instructions(constant) for constant in code.co_consts]
