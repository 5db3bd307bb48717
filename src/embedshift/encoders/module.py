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
        self._tap, self._kind = _tap(module if tower is None else tower, attention)
        self._patches: tuple[int, int] | None = None
        self._convolution = patch_embedding(module if tower is None else tower)
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
        return EncoderOutput(embedding.float().cpu().numpy(), attention, kind)

    def _take_attention(self, count: int) -> tuple[NDArray[np.float32] | None, AttentionKind | None]:
        row = None if self._tap is None else self._tap.take()
        if row is None:
            return None, None
        height, width = self._patches or (int(row.shape[1] ** 0.5),) * 2
        patches = row[:, row.shape[1] - height * width :]  # class and register tokens come first
        if height * width > row.shape[1] or len(row) != count:  # attention inside windows
            return None, None
        return patches.reshape(-1, height, width).cpu().numpy(), self._kind

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


def wrap(
    module: nn.Module,
    *,
    size: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    name: str | None = None,
    embed: Embed | None = None,
    attention: str | None = None,
    device: str = "auto",
    precision: Precision = "float32",
) -> ModuleEncoder:
    """The user's own torch module as an encoder.

    Args:
        module: Takes float `[B, 3, size, size]`, normalised, and gives the embedding `[B, D]`. It is put into eval
            mode, moved to the device, and gets forward hooks.
        size: Side of its square input, in pixels.
        mean: Per channel, of values in [0, 1].
        std: Per channel, of values in [0, 1].
        name: What tables and reports call it; by default the class's name.
        embed: `(module, pixels) -> [B, D]`, where the module's output is not the embedding itself.
        attention: Path of the block inside which the last attention runs ("blocks.11.attn"); by default it is found.
        device: As `ModuleEncoder`.
        precision: As `ModuleEncoder`.

    Returns:
        An encoder for `embedshift.run(model=...)`.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
        >>> encoder = wrap(net, size=8, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), name="linear")
        >>> encoder(np.zeros((2, 8, 8, 3), np.uint8)).embedding.shape
        (2, 4)
    """
    try:
        block = None if attention is None else module.get_submodule(attention)
    except AttributeError as error:
        raise EmbedshiftError(f"wrap: the module has no part {attention!r}", exit_code=2) from error
    return ModuleEncoder(
        module,
        embed or _output,
        Preprocess(size, mean, std),
        name or type(module).__name__,
        device=device,
        precision=precision,
        attention=block,
        embedding=_own_reading(embed, attention),
    )


def _own_reading(embed: Embed | None, attention: str | None) -> Embedding | None:
    """What tells two ways to read one module apart: weights alone do not, and a study must not mix them."""
    if embed is None and attention is None:
        return None
    code = getattr(embed, "__code__", None)
    text = f"{attention}|{code and (code.co_code, code.co_names)}"
    name = f"{getattr(embed, '__qualname__', 'output')}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return Embedding(name, "image", "as the user's own function reads it" if embed else "the module's output")


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


def _output(module: nn.Module, pixels: Tensor) -> Tensor:
    output = module(pixels)
    if not isinstance(output, Tensor):
        raise TypeError(f"the module returns {type(output).__name__}, not a tensor: give wrap an `embed` function")
    return output


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
