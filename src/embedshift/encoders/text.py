"""Text towers, loaded without the vision part."""

import hashlib
import importlib.util
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor, nn

from embedshift.config import Precision
from embedshift.encoders.base import TokenizerError
from embedshift.encoders.device import find_device
from embedshift.encoders.huggingface import Checkpoint, find_checkpoint, load_module, quiet
from embedshift.encoders.structure import DTYPES, weights_hash
from embedshift.encoders.trust import no_remote_code, refusing
from embedshift.errors import UsageError, reason

Tokens = dict[str, Tensor]
Tokenize = Callable[[list[str]], Tokens]
Read = Callable[[Any, Tokens], Any]

# Texts per batch, fixed, so that equal texts give bit-equal vectors.
BATCH = 64
TOKENIZER_FILES = (
    "tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model"
)  # fmt: skip
SENTENCE = "A photo of 2 blurry, noisy and mirrored cats!"


class ModuleTextEncoder:
    def __init__(
        self,
        module: nn.Module,
        tokenize: Tokenize,
        read: Read,
        name: str,
        *,
        device: str = "auto",
        precision: Precision = "float32",
    ) -> None:
        self.name, self.precision = name, "float32" if precision == "auto" else precision
        self.device = find_device(device)
        self.module = module.eval().to(self.device)
        self._tokenize, self._read = tokenize, read
        # The tokens of one sentence identify the tokenizer, which matters as much as the weights.
        self._reading = partial(refusing, f"{name}: its text tower cannot encode a text")
        with self._reading():
            tokens = {key: values.tolist() for key, values in sorted(tokenize([SENTENCE]).items())}
        self.weights_hash = hashlib.sha256(f"{weights_hash(self.module)}|{tokens}".encode()).hexdigest()
        self.dim = self(["a photo"]).shape[1]

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encodes N texts to float32 `[N, D]`, not normalised; texts longer than the tower's limit are cut."""
        with self._reading():
            parts = [self._encode(list(texts[start : start + BATCH])) for start in range(0, len(texts), BATCH)]
        return np.concatenate(parts) if parts else np.zeros((0, self.dim), np.float32)

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        tokens = {name: values.to(self.device) for name, values in self._tokenize(texts).items()}
        low = self.precision != "float32"
        with torch.inference_mode(), torch.autocast(self.device.type, DTYPES[self.precision], enabled=low):
            return np.array(self._read(self.module, tokens).float().cpu().numpy())


def load_huggingface_text(model: str, **settings: Any) -> ModuleTextEncoder | None:
    checkpoint = find_checkpoint(model)
    text = checkpoint.family.text
    if text is None:
        return None
    module = load_module(checkpoint, text.loader or checkpoint.family.loader, text.drop)
    tokenize = _tokenizer(checkpoint, padded=text.padded)
    return ModuleTextEncoder(module, tokenize, READERS[text.reader], checkpoint.name, **settings)


def _tokenizer(checkpoint: Checkpoint, *, padded: bool) -> Tokenize:
    if not any(checkpoint.file(name) for name in TOKENIZER_FILES):
        # transformers would silently make an empty one.
        raise TokenizerError(
            f"{checkpoint.model}: no tokenizer in the checkpoint ({TOKENIZER_FILES[0]} or similar): it cannot encode "
            "texts"
        )
    with quiet(), no_remote_code(local=checkpoint.local):
        try:
            tokenizer: Any = transformers.AutoTokenizer.from_pretrained(
                checkpoint.source, local_files_only=checkpoint.offline, trust_remote_code=False
            )
        except Exception as error:
            lacking = "sentencepiece" in str(error) and importlib.util.find_spec("sentencepiece") is None
            words = "it needs: pip install sentencepiece" if lacking else reason(error)[:300]
            raise TokenizerError(f"{checkpoint.model}: its tokenizer cannot be loaded ({words})") from error
    longest = min(_longest(checkpoint.config), tokenizer.model_max_length)
    tokenizer.padding_side = "right"  # Siglip2Tokenizer pads at the left; no tower was trained so

    lengths = {"padding": "max_length" if padded else True, "truncation": True, "max_length": longest}

    def tokenize(texts: list[str]) -> Tokens:
        tokens: Tokens = dict(tokenizer(texts, return_tensors="pt", return_token_type_ids=False, **lengths))
        # SigLIP was trained without a mask: the last position, mostly padding that has seen the text, is read.
        return {"input_ids": tokens["input_ids"]} if padded else tokens

    return tokenize


def _longest(config: Any) -> int:
    text = getattr(config, "qformer_config", None) or getattr(config, "text_config", config)
    positions = int(text.max_position_embeddings)
    # XLM-RoBERTa's positions start after its padding token.
    return positions - text.pad_token_id - 1 if config.model_type == "altclip" else positions


READERS: dict[str, Read] = {
    "text_embeds": lambda module, tokens: module(**tokens).text_embeds[:, 0],
    "text_features": lambda module, tokens: module.get_text_features(**tokens).pooler_output,
    "text_proj": lambda module, tokens: module.text_proj(module.text_encoder(**tokens).last_hidden_state[:, 0]),
}


def default_bank() -> tuple[str, ...]:
    """Returns "a photo of a ..." with open_clip's names of the ImageNet classes."""
    if importlib.util.find_spec("open_clip") is None:
        raise UsageError(
            "the default bank needs open_clip (pip install 'embedshift[openclip]'), or give your own `bank`"
        )
    from open_clip import IMAGENET_CLASSNAMES

    return tuple(f"a photo of a {name}" for name in dict.fromkeys(IMAGENET_CLASSNAMES))
