"""`ModuleEncoder`: a torch module as an `Encoder`, with embedding and attention from one forward pass."""

import contextlib
import logging
from collections.abc import Callable, Collection, Iterator

import numpy as np
import torch
from torch import Tensor, nn

import embedshift.encoders.layers
import embedshift.encoders.rollout  # noqa: F401 - both add themselves to the observations
from embedshift.arrays import Pixels
from embedshift.config import Json, Precision
from embedshift.encoders.attention import AttentionTap, Rows
from embedshift.encoders.base import LARGEST, AttentionKind, EncoderOutput, Preprocess
from embedshift.encoders.device import find_device, from_device, to_device
from embedshift.encoders.family import Embedding
from embedshift.encoders.faster import FasterPasses
from embedshift.encoders.grid import PatchGrid
from embedshift.encoders.observations import OBSERVATIONS, ForwardPass, Tap, Tower
from embedshift.encoders.speed import compiled
from embedshift.encoders.structure import has_cls_token, last_block, pooling_head
from embedshift.encoders.taps import Taps
from embedshift.encoders.weights import DTYPES, frozen, weights_hash
from embedshift.errors import EmbedshiftError, UsageError, reason

log = logging.getLogger(__name__)

Embed = Callable[[nn.Module, Tensor], Tensor]


class ModuleEncoder(FasterPasses):
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
    ) -> None:
        self.name, self.preprocess, self.revision = name, preprocess, revision
        self.size, self.mean, self.std = preprocess.size, preprocess.mean, preprocess.std
        self.precision: Precision = "float32" if precision == "auto" else precision
        self.device = find_device(device)
        self.module = module.eval().to(self.device)
        self.weights_hash = weights_hash(self.module)
        self._embed = self._forward = embed
        self._batch = 0  # views that every pass is filled up to, once compiled
        self.embedding_name = embedding.name if embedding else None
        self.embedding_definition = embedding.definition if embedding else None
        self._tower = module if tower is None else tower
        self._listened = Taps()
        self._tap, self._kind = _tap(self._tower, attention, self._listened)
        self._taps: dict[str, Tap] = {}
        self._patches = PatchGrid(self._tower)
        # Normalisation as one multiply-add on the device: x / 255 / std - mean / std.
        scale = 1.0 / (255.0 * torch.tensor(self.std))
        self._scale = scale.view(1, 3, 1, 1).to(self.device)
        self._shift = (-torch.tensor(self.mean) / torch.tensor(self.std)).view(1, 3, 1, 1).to(self.device)
        self._shared, self._tapped = shared, attention
        probe = self._try_one_image()
        self.dim = int(probe.embedding.shape[1])
        self.grid = None if probe.attention is None else (probe.attention.shape[1], probe.attention.shape[2])
        self.attention_kind = probe.attention_kind
        self._make_faster(precision)

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
        with torch.inference_mode(), self._shortcut_now(), self._kernels or contextlib.nullcontext():
            pixels = to_device(views, self.device).permute(0, 3, 1, 2).float()
            pixels = pixels.mul_(self._scale).add_(self._shift)
            low = self.precision != "float32"
            with torch.autocast(self.device.type, DTYPES[self.precision], enabled=low):
                embedding = self._forward(self.module, pixels)
            row = None if self._tap is None else self._tap.take()
            attention = None if row is None else self._patches.lay(row, len(views))
            kind = None if attention is None else self._kind
            done = ForwardPass(len(views), self._kind, row, lambda weights: self._patches.lay(weights, len(views)))
            observed = {name: tap.take(done) for name, tap in self._taps.items()}
            read = from_device([embedding.float(), *([] if attention is None else [attention])])

        def finish() -> EncoderOutput:
            arrays = read()
            return EncoderOutput(arrays[0], arrays[1] if kind else None, kind, observed)

        return finish

    @contextlib.contextmanager
    def compiling(self, batch: int) -> Iterator[None]:
        """Inside the context passes are compiled for batches of `batch` views; black views fill up smaller ones."""
        log.info("compiling %s for batches of %d", self.name, batch)
        self._forward, self._batch = compiled(self._embed), batch
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
            self._forward, self._batch = self._embed, 0

    def __getstate__(self) -> Json:
        """Leaves out the compiled pass, which cannot be sent; the receiver compiles it again."""
        return super().__getstate__() | {"_forward": self._embed, "_batch": 0}

    def __setstate__(self, state: Json) -> None:
        """Starts without the sender's observations."""
        super().__setstate__(state)
        self._remove_taps([*self._taps])

    @property
    def tower(self) -> Tower:
        """Returns the part that sees the image, for inspection."""
        return Tower(
            self._tower, has_cls_token(self._tower), self._patches.of, self._embed_pixels, self.size, self._listened
        )

    @contextlib.contextmanager
    def differentiable(self) -> Iterator[Callable[[Tensor], Tensor]]:
        """Gives a function from pixels to embeddings with exact gradients with respect to the pixels."""
        if self.precision != "float32":
            raise UsageError(f"{self.name}: gradients need `precision` float32, not {self.precision}")
        with frozen(self.module), self._listened.silent(), torch.inference_mode(False), torch.enable_grad():
            yield self._embed_pixels

    def _embed_pixels(self, pixels: Tensor) -> Tensor:
        return self._embed(self.module, pixels.to(self.device) * self._scale + self._shift)

    @contextlib.contextmanager
    def observing(self, names: Collection[str]) -> Iterator[None]:
        """Inside the context every output holds `observed[name]` for each of the names of `OBSERVATIONS`."""
        more, tower = [name for name in dict.fromkeys(names) if name not in self._taps], self.tower
        taps = [OBSERVATIONS[name] for name in more]
        try:
            try:
                for name, tap in zip(more, taps, strict=True):
                    self._taps[name] = tap(tower)
            except UsageError as error:
                raise UsageError(f"{self.name} {error}") from error
            if more:
                self._try_one_image()
            yield
        finally:
            self._remove_taps(more)

    def _remove_taps(self, names: Collection[str]) -> None:
        for name in names:
            if name in self._taps:
                self._taps.pop(name).remove()

    def _try_one_image(self) -> EncoderOutput:
        patch = self._patches.patch
        if not 0 < self.size <= LARGEST:
            raise UsageError(
                f"{self.name}: size {self.size} is not one of 1 to {LARGEST} pixels; choose another `size`"
            )
        if patch is not None and self.size % patch:
            raise UsageError(
                f"{self.name}: size {self.size} is not a multiple of its patch of {patch} pixels; choose another `size`"
            )
        try:
            output = self(np.zeros((1, self.size, self.size, 3), np.uint8))
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
        if output.attention is None:
            log.warning("%s: no attention was found; attention_similarity will be empty", self.name)
        return output


def _tap(tower: nn.Module, attention: nn.Module | None, taps: Taps) -> tuple[AttentionTap | None, AttentionKind]:
    """Returns the tap and the kind of its weights: class token, else pooling head, else the mean over tokens."""
    has_cls = has_cls_token(tower)
    head = None if has_cls or attention is not None else pooling_head(tower)
    kind: AttentionKind = "cls" if has_cls else "mean" if head is None else "pool"
    block = attention if attention is not None else head if head is not None else last_block(tower)
    rows: Rows = "mean" if kind == "mean" else "first"
    return None if block is None else AttentionTap(block, rows=rows, taps=taps), kind
