"""A torch module as an `Encoder`: views in, embedding and attention row out, in one forward pass."""

import hashlib
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from embedshift.encoders.attention import AttentionTap, has_cls_token, last_block, patch_embedding, pooling_head
from embedshift.encoders.base import AttentionKind, EncoderOutput, Precision, Preprocess
from embedshift.encoders.family import Embedding
from embedshift.encoders.layers import LayerTap
from embedshift.errors import EmbedshiftError, reason

log = logging.getLogger(__name__)

Embed = Callable[[nn.Module, Tensor], Tensor]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class ModuleEncoder:
    """An encoder made of a torch module and a function that reads the embedding from it.

    The module is put into eval mode and moved to the device. Weights stay float32; a lower precision is used through
    autocast, which keeps norms, softmax and the residual stream in float32.

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
    ) -> None:
        self.name, self.preprocess, self.precision, self.revision = name, preprocess, precision, revision
        self.size, self.mean, self.std = preprocess.size, preprocess.mean, preprocess.std
        self.device = _device(device)
        self.module = module.eval().to(self.device)
        self.weights_hash = weights_hash(self.module)
        self._embed = embed
        self.embedding_name = embedding.name if embedding else None
        self.embedding_definition = embedding.definition if embedding else None
        self._tower = module if tower is None else tower
        self._tap, self._kind = _tap(self._tower, attention)
        self._layers: LayerTap | None = None
        self._patches: tuple[int, int] | None = None
        self._convolution = patch_embedding(self._tower)
        if self._convolution is not None:
            self._convolution.register_forward_hook(self._see_patches)
        # Normalisation as one multiply-add on the device: x / 255 / std - mean / std.
        scale = 1.0 / (255.0 * torch.tensor(self.std))
        self._scale = scale.view(1, 3, 1, 1).to(self.device)
        self._shift = (-torch.tensor(self.mean) / torch.tensor(self.std)).view(1, 3, 1, 1).to(self.device)
        probe = self._try_one_picture()
        self.dim = int(probe.embedding.shape[1])
        self.grid = None if probe.attention is None else (probe.attention.shape[1], probe.attention.shape[2])
        self.attention_kind = probe.attention_kind

    def __call__(self, views: NDArray[np.uint8]) -> EncoderOutput:
        """Encodes views uint8 `[B, S, S, 3]`, RGB, in one forward pass."""
        with torch.inference_mode():
            pixels = torch.from_numpy(views).to(self.device).permute(0, 3, 1, 2).float()
            pixels = pixels * self._scale + self._shift
            low = self.precision != "float32"
            with torch.autocast(self.device.type, DTYPES[self.precision], enabled=low):
                embedding = self._embed(self.module, pixels)
            attention, kind = self._take_attention(len(views))
            layers = None if self._layers is None else self._layers.take(len(views)).cpu().numpy()
        return EncoderOutput(embedding.float().cpu().numpy(), attention, kind, layers)

    def observe(self, *, layers: bool = False, rollout: bool = False) -> None:
        """Tells the encoder what more to give with every output from now on.

        Args:
            layers: `EncoderOutput.layers`; `depth` and `layer_tokens` then say what it holds.
            rollout: `EncoderOutput.rollout`.

        Raises:
            EmbedshiftError: when the encoder cannot give it.
        """
        if self._layers is not None:
            self._layers.remove()
            self._layers = None
        if not layers:
            return
        try:
            self._layers = LayerTap(self._tower, has_cls=has_cls_token(self._tower), grid=self._grid_of)
        except EmbedshiftError as error:
            raise EmbedshiftError(f"{self.name} {error}", exit_code=error.exit_code) from error
        self._try_one_picture()

    @property
    def depth(self) -> int:
        """Number L of blocks in `EncoderOutput.layers`; 0 unless the encoder was told to give it."""
        return 0 if self._layers is None else self._layers.depth

    @property
    def layer_tokens(self) -> tuple[str, ...]:
        """The tokens of `EncoderOutput.layers`: "cls" where there is a class token, and "patches", their mean."""
        return () if self._layers is None else self._layers.tokens

    def _take_attention(self, count: int) -> tuple[NDArray[np.float32] | None, AttentionKind | None]:
        row = None if self._tap is None else self._tap.take()
        if row is None:
            return None, None
        height, width = self._grid_of(row.shape[1])
        patches = row[:, row.shape[1] - height * width :]  # class and register tokens come first
        if height * width > row.shape[1] or len(row) != count:  # attention inside windows
            return None, None
        return patches.reshape(-1, height, width).cpu().numpy(), self._kind

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


def weights_hash(module: nn.Module) -> str:
    """SHA-256 over the names, dtypes, shapes and bytes of all weights: equal weights, equal hash, wherever they lie.

    Example:
        >>> weights_hash(nn.Identity())[:12]
        'e3b0c44298fc'
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name}|{values.dtype}|{tuple(values.shape)}|".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _tap(tower: nn.Module, attention: nn.Module | None) -> tuple[AttentionTap | None, AttentionKind]:
    """The tap, and whose weights it takes: the class token's, else the pooling head's, else the mean over tokens."""
    has_cls = has_cls_token(tower)
    head = None if has_cls or attention is not None else pooling_head(tower)
    kind: AttentionKind = "cls" if has_cls else "mean" if head is None else "pool"
    block = attention if attention is not None else head if head is not None else last_block(tower)
    return None if block is None else AttentionTap(block, from_cls=kind != "mean"), kind


def _device(name: str) -> torch.device:
    try:
        device = torch.device(_best_device() if name == "auto" else name)
        torch.empty(1, device=device)
    except Exception as error:
        words = f"device {name!r} cannot be used here ({reason(error).split('. ')[0][:200]}): give auto or cpu"
        raise EmbedshiftError(words, exit_code=2) from error
    return device


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
