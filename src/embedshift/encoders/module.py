"""`ModuleEncoder`: a torch module as an `Encoder`; and `wrap`, which makes one from the user's own module."""

import contextlib
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from embedshift.arrays import Pixels
from embedshift.config import Json, Precision, Triple
from embedshift.encoders.attention import attention_hook
from embedshift.encoders.base import EncoderOutput, Preprocess
from embedshift.encoders.device import fastest_precision, find_device, from_device, to_device, warn_if_slower
from embedshift.encoders.families import Embedding
from embedshift.encoders.hooks import BlockHooks
from embedshift.encoders.images import noise
from embedshift.encoders.kernels import PACKED, PackedLinears, compiled, usual_kernels
from embedshift.encoders.observations import OBSERVATIONS, Observation, Tower
from embedshift.encoders.structure import (
    DTYPES,
    PatchGrid,
    cast_weights,
    frozen,
    has_cls_token,
    structure_hash,
    temporarily_cast,
    weights_hash,
)
from embedshift.errors import EmbedshiftError, UsageError, foreign_code, reason
from embedshift.registry import fingerprint

log = logging.getLogger(__name__)

Embed = Callable[[nn.Module, Tensor], Tensor]


class ModuleEncoder:
    """An encoder made of a torch module and a function that reads the embedding from it."""

    def __init__(
        self,
        module: nn.Module,
        embed: Embed,
        preprocess: Preprocess,
        name: str,
        *,
        device: str = "auto",
        precision: Precision = "float32",
        attention: nn.Module | None = None,
        tower: nn.Module | None = None,
        embedding: Embedding | None = None,
        revision: str | None = None,
        shared: bool = False,
        configuration: Mapping[str, Any] | None = None,
    ) -> None:
        self.name, self.preprocess, self.revision = name, preprocess, revision
        self.size, self.mean, self.std = preprocess.size, preprocess.mean, preprocess.std
        self.device = find_device(device)
        self.module = (module if shared else module.eval()).to(self.device)
        self.weights_hash = weights_hash(self.module)
        self.configuration = {"module": structure_hash(module)} if configuration is None else configuration
        self.embedding_name = embedding.name if embedding else None
        self.embedding_definition = embedding.definition if embedding else None
        self._tower = module if tower is None else tower
        self._patches = PatchGrid(self._tower)
        self._block_hooks = BlockHooks()
        self._hook, self._kind = attention_hook(self._tower, attention, self._block_hooks)
        self._observations: dict[str, Observation] = {}
        # Normalisation as one multiply-add on the device: x / 255 / std - mean / std.
        scale = 1.0 / (255.0 * torch.tensor(self.std))
        self._scale = scale.view(1, 3, 1, 1).to(self.device)
        self._offset = (-torch.tensor(self.mean) / torch.tensor(self.std)).view(1, 3, 1, 1).to(self.device)
        self._shared = shared
        self.embed = self._forward = embed
        self._batch = 0  # batch size of a compiled pass, filled up with black views
        # Names of the kernels that replace torch's own, as in study.json.
        self.kernels: tuple[str, ...] = ()
        self._packed: PackedLinears | None = None
        self.precision: Precision = "float32" if precision == "auto" else precision

        output = self._encode_one_image()
        self.dim = int(output.embedding.shape[1])
        self.grid = None if output.attention is None else (output.attention.shape[1], output.attention.shape[2])
        self.attention_kind = output.attention_kind
        if output.attention is None:
            log.warning("%s: no attention was found; attention_similarity will be empty", name)
        self._choose_precision(precision)

    def __call__(self, views: Pixels) -> EncoderOutput:
        """Encodes views uint8 `[B, S, S, 3]`, RGB, in one forward pass."""
        return self.begin(views)()

    def begin(self, views: Pixels) -> Callable[[], EncoderOutput]:
        """Starts a forward pass over views uint8 `[B, S, S, 3]`; the returned function waits for its output."""
        count = len(views)
        if count < self._batch:
            views = np.concatenate([views, np.zeros((self._batch - count, *views.shape[1:]), np.uint8)])
        finish = self._begin(views)
        return finish if len(views) == count else lambda: finish()[:count]

    def _begin(self, views: Pixels) -> Callable[[], EncoderOutput]:
        packed = self._packed.in_use() if self._packed else contextlib.nullcontext()
        with torch.inference_mode(), _evaluating(self.module), packed:
            pixels = to_device(views, self.device).permute(0, 3, 1, 2).float()
            pixels = pixels.mul_(self._scale).add_(self._offset)
            low = self.precision != "float32"
            with torch.autocast(self.device.type, DTYPES[self.precision], enabled=low):
                embedding = self._forward(self.module, pixels)
            row = None if self._hook is None else self._hook.take()
            attention = None if row is None else self._patches.to_grid(row, len(views))
            kind = None if attention is None else self._kind
            observed = {name: hook.take(len(views), row) for name, hook in self._observations.items()}
            read = from_device([embedding, *([] if attention is None else [attention])])

        def finish() -> EncoderOutput:
            arrays = read()
            return EncoderOutput(arrays[0], arrays[1] if kind else None, kind, observed)

        return finish

    def _choose_precision(self, requested: Precision) -> None:
        if requested == "auto":
            self.precision = fastest_precision(self)
        elif requested != "float32":
            warn_if_slower(self, requested)
        if self.precision != "float32" and not self._shared:
            cast_weights(self.module, DTYPES[self.precision])

    @contextlib.contextmanager
    def at_precision(self, precision: Precision) -> Iterator[None]:
        """Context in which passes use another precision; requires float32 weights."""
        before, self.precision = self.precision, precision
        cast = precision != "float32" and not self._shared
        try:
            with temporarily_cast(self.module, DTYPES[precision]) if cast else contextlib.nullcontext():
                yield
        finally:
            self.precision = before

    def choose_kernels(self) -> None:
        """Uses the usual faster passes of this device."""
        self.use_kernels(usual_kernels(self.device, self.precision))

    def use_kernels(self, names: Collection[str]) -> None:
        """Uses exactly these kernels from now on; torch's own, with a warning, if unavailable."""
        if tuple(names) == self.kernels:
            return
        self.kernels, self._packed = tuple(names), None
        missing = [name for name in names if name != PACKED]
        if PACKED in names:
            try:
                self._packed = PackedLinears(self.module, DTYPES[self.precision])
            except RuntimeError as error:
                log.debug("%s: torch's own kernels (%s)", self.name, reason(error))
                missing.append(PACKED)
        if missing:
            log.warning(
                "%s: the kernels %s, which this study used at the start, are not available here; torch's own are "
                "used, so numbers may differ by rounding", self.name, ", ".join(missing),
            )  # fmt: skip

    @contextlib.contextmanager
    def compiling(self, batch: int) -> Iterator[None]:
        """Context in which passes are compiled for batches of `batch` views; black views fill up smaller ones."""
        log.info("compiling %s for batches of %d", self.name, batch)
        self._forward, self._batch = compiled(self.embed), batch
        try:
            try:
                self(np.zeros((batch, self.size, self.size, 3), np.uint8))
            except Exception as error:
                raise EmbedshiftError(
                    f"`compile`: {self.name} cannot be compiled here ({reason(error)[:300]}); run without it, "
                    "or in smaller batches"
                ) from error
            yield
        finally:
            self._forward, self._batch = self.embed, 0

    def __getstate__(self) -> Json:
        """Omits the compiled pass and packed weights, which cannot be sent; the receiver makes them again."""
        return self.__dict__ | {"_forward": self.embed, "_batch": 0, "kernels": (), "_packed": None}

    def __setstate__(self, state: Json) -> None:
        self.__dict__.update(state)
        self._remove_observations([*self._observations])

    @property
    def tower(self) -> Tower:
        """The tower of the module, for observations."""
        return Tower(
            self._tower,
            has_cls_token(self._tower),
            self._patches.shape,
            self._patches.to_grid,
            self._kind,
            self._embed_pixels,
            self.size,
            self._block_hooks,
        )

    @contextlib.contextmanager
    def differentiable(self) -> Iterator[Callable[[Tensor], Tensor]]:
        """Yields pixels float32 `[B, 3, S, S]` → embedding `[B, D]` with gradients; UsageError in a lower precision."""
        if self.precision != "float32":
            raise UsageError(f"{self.name}: gradients need `precision` float32, not {self.precision}")
        with frozen(self.module), self._block_hooks.silent(), torch.inference_mode(False), torch.enable_grad():
            yield self._embed_pixels

    def _embed_pixels(self, pixels: Tensor) -> Tensor:
        with _evaluating(self.module):
            # Copied, since a module may reuse the tensor in its next pass.
            return self.embed(self.module, pixels.to(self.device) * self._scale + self._offset).clone()

    @contextlib.contextmanager
    def observing(self, names: Collection[str]) -> Iterator[None]:
        """Context in which every output holds `observed[name]` for each name in `OBSERVATIONS`."""
        added, tower = [name for name in dict.fromkeys(names) if name not in self._observations], self.tower
        kinds = [OBSERVATIONS[name] for name in added]
        try:
            try:
                with _evaluating(self.module):
                    for name, kind in zip(added, kinds, strict=True):
                        self._observations[name] = kind(tower)
            except UsageError as error:
                raise UsageError(f"{self.name} {error}") from error
            if added:
                self._encode_one_image()
            yield
        finally:
            self._remove_observations(added)

    def _remove_observations(self, names: Collection[str]) -> None:
        for name in names:
            if name in self._observations:
                self._observations.pop(name).remove()

    def _encode_one_image(self) -> EncoderOutput:
        self._patches.refuse_size(self.size, self.name)
        try:
            with foreign_code():
                output = self(noise(1, self.size))
        except EmbedshiftError as error:
            kind = UsageError if isinstance(error, UsageError) else EmbedshiftError
            raise kind(f"{self.name}: {error}") from error
        except Exception as error:
            raise EmbedshiftError(
                f"{self.name} cannot encode an image of {self.size} pixels: {reason(error)}"
            ) from error
        if output.embedding.ndim != 2:
            shape = tuple(output.embedding.shape)
            raise EmbedshiftError(f"{self.name} gives {shape} for one image; an embedding must be [B, D]")
        return output


@contextlib.contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Context in which the module is in eval mode; each part of a user's module gets its mode back."""
    training = [part for part in module.modules() if part.training]
    if training:
        module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


def wrap(
    module: nn.Module,
    *,
    size: int,
    mean: Triple,
    std: Triple,
    name: str | None = None,
    embed: Embed | None = None,
    attention: str | None = None,
    device: str = "auto",
    precision: Precision = "float32",
    encode_text: Callable[[Sequence[str]], Any] | None = None,
) -> ModuleEncoder:
    """Makes an encoder from a torch module.

    Args:
        module: Maps normalised pixels float `[B, 3, size, size]` to embeddings `[B, D]`. It is moved to the
            device, gets forward hooks, and is in eval mode while it encodes.
        size: Side of its square input, in pixels.
        mean: Mean of each channel, for values in [0, 1].
        std: Standard deviation of each channel, for values in [0, 1].
        name: Name in tables and reports; None = the name of the module's class.
        embed: `(module, pixels) -> [B, D]`, if the module's output is not the embedding itself.
        attention: Path of the block that runs the last attention ("blocks.11.attn"); None = it is found by structure.
        device: "auto" = CUDA, else MPS, else CPU; or any torch device.
        precision: "float32", "bfloat16", "float16", or "auto" = the fastest whose embeddings are close to float32.
        encode_text: `(texts) -> [N, D]`, for the settings `text` and `labels`: vectors in the space of the embedding.

    Returns:
        An encoder for `embedshift.run(model=...)`.

    Raises:
        UsageError: The module has no part with the name `attention`.
        EmbedshiftError: The module cannot encode one image of the input size.

    Example:
        >>> import numpy
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
        >>> encoder = wrap(net, size=8, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), name="linear")
        >>> encoder(numpy.zeros((2, 8, 8, 3), numpy.uint8)).embedding.shape
        (2, 4)
    """
    title = name or type(module).__name__
    if not isinstance(module, nn.Module):
        raise UsageError(f"wrap: give a torch.nn.Module, not {title}")
    if any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers())):
        raise UsageError(f"{title}: it is on the device meta, without weights; load its weights first")
    try:
        block = None if attention is None else module.get_submodule(attention)
    except AttributeError as error:
        raise UsageError(f"wrap: the module has no part {attention!r}") from error
    encoder: Any = ModuleEncoder(
        module,
        embed or _output,
        Preprocess.of_user(title, size, mean, std),
        title,
        device=device,
        precision=precision,
        attention=block,
        embedding=_own_reading(embed, attention),
        shared=True,
    )
    if encode_text is not None:
        encoder.encode_text = encode_text
    return encoder  # type: ignore[no-any-return]


def _own_reading(embed: Embed | None, attention: str | None) -> Embedding | None:
    """Describes how the module is read, which is part of a study's identity beside the weights."""
    if embed is None and attention is None:
        return None
    name = fingerprint(embed, f"{attention}|")
    return Embedding(name, "image", "as the user's own function reads it" if embed else "the module's output")


def _output(module: nn.Module, pixels: Tensor) -> Tensor:
    output = module(pixels)
    if not isinstance(output, Tensor):
        raise TypeError(f"the module returns {type(output).__name__}, not a tensor: give wrap an `embed` function")
    return output
