"""A torch module as an `Encoder`: views in, embedding and attention row out, in one forward pass."""

import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from embedshift.encoders.attention import AttentionTap, has_cls_token, last_block, patch_embedding, pooling_head
from embedshift.encoders.base import AttentionKind, EncoderOutput, Precision, Preprocess
from embedshift.encoders.device import find_device
from embedshift.encoders.family import Embedding
from embedshift.encoders.kernels import CpuKernels
from embedshift.encoders.layers import LayerTap
from embedshift.encoders.rollout import RolloutTap
from embedshift.encoders.speed import ClassTokenShortcut, compiled, same_output
from embedshift.encoders.weights import DTYPES, cast_weights, weights_hash
from embedshift.errors import EmbedshiftError, reason

log = logging.getLogger(__name__)

Embed = Callable[[nn.Module, Tensor], Tensor]


class ModuleEncoder:
    """An encoder made of a torch module and a function that reads the embedding from it.

    The module is put into eval mode and moved to the device. A lower precision is used through autocast, which keeps
    norms, softmax and the residual stream in float32.

    Args:
        module: The vision module.
        embed: `(module, pixels [B, 3, S, S]) -> [B, D]`.
        preprocess: Input size and normalisation.
        name: What tables and reports call it.
        device: "auto" = CUDA, else Apple's MPS, else the CPU; or any torch device.
        precision: "float32", "bfloat16" or "float16".
        attention: The block inside which the attention runs; by default the pooling head of a module without
            class token, else the last layer of its transformer.
        tower: The part that sees the picture, in which patches, class token, head and layers are looked for; by
            default the module.
        embedding: What `embed` reads, for the record.
        revision: Where the weights came from, for the record.
        shared: Whether the module is in use elsewhere too: its weights then stay as they are, and are cast to a lower
            precision at every pass.

    Raises:
        EmbedshiftError: when the module cannot encode one black picture of the input size.
    """

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
        self.name, self.preprocess, self.precision, self.revision = name, preprocess, precision, revision
        self.size, self.mean, self.std = preprocess.size, preprocess.mean, preprocess.std
        self.device = find_device(device)
        self.module = module.eval().to(self.device)
        self.weights_hash = weights_hash(self.module)
        self._embed = self._forward = embed
        self._batch = 0  # views that every pass is filled up to, once compiled
        self.encode_text: Callable[[Sequence[str]], Any] | None = None
        self.embedding_name = embedding.name if embedding else None
        self.embedding_definition = embedding.definition if embedding else None
        self._tower = module if tower is None else tower
        self._tap, self._kind = _tap(self._tower, attention)
        self._kernels: CpuKernels | None = None
        self._shortcut: ClassTokenShortcut | None = None
        self._layers: LayerTap | None = None
        self._rollout: RolloutTap | None = None
        self._patches: tuple[int, int] | None = None
        self._convolution = patch_embedding(self._tower)
        if self._convolution is not None:
            self._convolution.register_forward_hook(self._see_patches)
        # Normalisation as one multiply-add on the device: x / 255 / std - mean / std.
        scale = 1.0 / (255.0 * torch.tensor(self.std))
        self._scale = scale.view(1, 3, 1, 1).to(self.device)
        self._shift = (-torch.tensor(self.mean) / torch.tensor(self.std)).view(1, 3, 1, 1).to(self.device)
        probe = self._try_one_picture()
        self._shortcut = self._try_shortcut()
        if precision != "float32" and not shared:
            cast_weights(self.module, DTYPES[precision])
        self._kernels = self._try_kernels() if self.device.type == "cpu" else None
        self.dim = int(probe.embedding.shape[1])
        self.grid = None if probe.attention is None else (probe.attention.shape[1], probe.attention.shape[2])
        self.attention_kind = probe.attention_kind

    def __call__(self, views: NDArray[np.uint8]) -> EncoderOutput:
        """Encodes views uint8 `[B, S, S, 3]`, RGB, in one forward pass."""
        count = len(views)
        if count < self._batch:
            views = np.concatenate([views, np.zeros((self._batch - count, *views.shape[1:]), np.uint8)])
        output = self._pass(views)
        return output if len(views) == count else output[:count]

    def _pass(self, views: NDArray[np.uint8]) -> EncoderOutput:
        with torch.inference_mode(), self._shortcut_now(), self._kernels or contextlib.nullcontext():
            pixels = torch.from_numpy(views).to(self.device).permute(0, 3, 1, 2).float()
            pixels = pixels.mul_(self._scale).add_(self._shift)
            low = self.precision != "float32"
            with torch.autocast(self.device.type, DTYPES[self.precision], enabled=low):
                embedding = self._forward(self.module, pixels)
            row = None if self._tap is None else self._tap.take()
            rolled = None if self._rollout is None else self._rollout.take(self._kind, row)
            attention, rollout = self._on_grid(row, len(views)), self._on_grid(rolled, len(views))
            kind = None if attention is None else self._kind
            layers = None if self._layers is None else self._layers.take(len(views)).cpu().numpy()
        return EncoderOutput(embedding.float().cpu().numpy(), attention, kind, layers, rollout)

    def compile(self, batch: int) -> None:
        """Compiles the forward pass, for batches of `batch` views: fewer are filled up with black ones; 0 = no more.

        Compile after `observe`: what is caught on the way is caught by the compiled pass too. Embeddings then differ
        from those of the plain pass by rounding.

        Raises:
            EmbedshiftError: when it cannot be compiled here, as without a C++ compiler.
        """
        if batch == self._batch:
            return
        self._forward, self._batch = self._embed, 0
        if not batch:
            return
        log.info("compiling %s for batches of %d", self.name, batch)
        self._forward, self._batch = compiled(self._embed), batch
        try:
            self(np.zeros((batch, self.size, self.size, 3), np.uint8))
        except Exception as error:
            self._forward, self._batch = self._embed, 0
            raise EmbedshiftError(
                f"--compile: {self.name} cannot be compiled here ({reason(error)[:300]}); run without it, "
                "or in smaller batches"
            ) from error

    def __getstate__(self) -> dict[str, Any]:
        """Without the compiled pass, which does not travel: who receives the encoder compiles it again."""
        return self.__dict__ | {"_forward": self._embed, "_batch": 0}

    def _shortcut_now(self) -> contextlib.AbstractContextManager[None]:
        # The mean patch of the last layer needs all its tokens.
        return contextlib.nullcontext() if self._shortcut is None or self._layers is not None else self._shortcut

    def _try_shortcut(self) -> ClassTokenShortcut | None:
        """The shortcut, where embedding and attention of two random pictures stay the same with it."""
        block = last_block(self._tower)
        shortcut = None if block is None or not has_cls_token(self._tower) else ClassTokenShortcut(block)
        if not shortcut:
            return None
        pictures = self._two_pictures()
        precision, self.precision = self.precision, "float32"  # tells apart what a lower one would blur
        plain, (self._shortcut, short) = self(pictures), (shortcut, None)
        shortcut.wild = True
        try:
            short = self(pictures)
        except Exception as error:  # a block that is built otherwise
            log.debug("%s: no shortcut (%s)", self.name, reason(error))
        self.precision, self._shortcut, shortcut.wild = precision, None, False
        if short is not None and same_output(plain, short):
            return shortcut
        shortcut.remove()
        return None

    def _try_kernels(self) -> CpuKernels | None:
        """Faster kernels, where they are at hand and give what torch's own give, to rounding."""
        pictures = self._two_pictures()
        plain, fast = self(pictures), None
        try:
            self._kernels = CpuKernels(self.module, DTYPES[self.precision])
            fast = self(pictures)
        except Exception as error:  # an older torch, another processor
            log.debug("%s: torch's own kernels (%s)", self.name, reason(error))
        kernels, self._kernels = self._kernels, None
        rounding = 1e-3 if self.precision == "float32" else 0.1
        return kernels if fast is not None and same_output(plain, fast, rounding) else None

    def _two_pictures(self) -> NDArray[np.uint8]:
        return np.random.default_rng(0).integers(0, 256, (2, self.size, self.size, 3), np.uint8)

    def observe(self, *, layers: bool = False, rollout: bool = False) -> None:
        """Tells the encoder what more to give with every output from now on.

        Args:
            layers: `EncoderOutput.layers`; `depth` and `layer_tokens` then say what it holds.
            rollout: `EncoderOutput.rollout`.

        Raises:
            EmbedshiftError: when the encoder cannot give it.
        """
        if (layers, rollout) == (self._layers is not None, self._rollout is not None):
            return
        for tap in (self._layers, self._rollout):
            if tap is not None:
                tap.remove()
        self._layers, self._rollout = None, None
        self._forward, self._batch = self._embed, 0  # a compiled pass would not catch what is asked for now
        if not (layers or rollout):
            return
        try:
            self._tap_more(layers, rollout)
        except EmbedshiftError:
            self.observe()  # as before, for whoever goes on without
            raise

    def _tap_more(self, layers: bool, rollout: bool) -> None:
        try:
            if layers:
                self._layers = LayerTap(self._tower, has_cls=has_cls_token(self._tower), grid=self._grid_of)
            if rollout:
                self._rollout = RolloutTap(self._tower)
        except EmbedshiftError as error:
            raise EmbedshiftError(f"{self.name} {error}", exit_code=error.exit_code) from error
        if self._try_one_picture().rollout is None and rollout:
            words = "its attention runs inside windows, not from all tokens to all; run without rollout metrics"
            raise EmbedshiftError(f"{self.name} gives no rollout: {words}", exit_code=2)

    @property
    def depth(self) -> int:
        """Number L of blocks in `EncoderOutput.layers`; 0 unless the encoder was told to give it."""
        return 0 if self._layers is None else self._layers.depth

    @property
    def layer_tokens(self) -> tuple[str, ...]:
        """The tokens of `EncoderOutput.layers`: "cls" where there is a class token, and "patches", their mean."""
        return () if self._layers is None else self._layers.tokens

    def _on_grid(self, row: Tensor | None, count: int) -> NDArray[np.float32] | None:
        """Weights of all tokens `[B, T]` → those of the patches `[B, g_h, g_w]`."""
        if row is None:
            return None
        height, width = self._grid_of(row.shape[1])
        patches = row[:, row.shape[1] - height * width :]  # class and register tokens come first
        if height * width > row.shape[1] or len(row) != count:  # attention inside windows
            return None
        return patches.reshape(-1, height, width).cpu().numpy()

    def _grid_of(self, tokens: int) -> tuple[int, int]:
        return self._patches or (int(tokens**0.5),) * 2

    def _see_patches(self, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        self._patches = (output.shape[-2], output.shape[-1])

    def _try_one_picture(self) -> EncoderOutput:
        convolution = self._convolution
        if convolution is not None and self.size % convolution.kernel_size[0]:
            raise EmbedshiftError(
                f"{self.name}: size {self.size} is not a multiple of its patch of {convolution.kernel_size[0]} pixels; "
                "choose another --size",
                exit_code=2,
            )
        try:
            output = self(np.zeros((1, self.size, self.size, 3), np.uint8))
        except EmbedshiftError as error:
            raise EmbedshiftError(f"{self.name}: {error}", exit_code=error.exit_code) from error
        except Exception as error:
            raise EmbedshiftError(
                f"{self.name} cannot encode a picture of {self.size} pixels: {reason(error)}"
            ) from error
        if output.embedding.ndim != 2:
            shape = tuple(output.embedding.shape)
            raise EmbedshiftError(f"{self.name} gives {shape} for one picture; an embedding must be [B, D]")
        if output.attention is None:
            log.warning("%s: no attention was found; attention_similarity will be empty", self.name)
        return output


def _tap(tower: nn.Module, attention: nn.Module | None) -> tuple[AttentionTap | None, AttentionKind]:
    """The tap, and whose weights it takes: the class token's, else the pooling head's, else the mean over tokens."""
    has_cls = has_cls_token(tower)
    head = None if has_cls or attention is not None else pooling_head(tower)
    kind: AttentionKind = "cls" if has_cls else "mean" if head is None else "pool"
    block = attention if attention is not None else head if head is not None else last_block(tower)
    return None if block is None else AttentionTap(block, rows="mean" if kind == "mean" else "first"), kind
