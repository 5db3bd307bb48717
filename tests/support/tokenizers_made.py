"""A tokenizer for tiny models: a word is a token. Saved as a user's checkpoint has it, and a CLIP that has it."""

from pathlib import Path
from typing import Any

import transformers as hf
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers.models import WordLevel

from support.models import clip, save, widen

WORDS = (
    *("a", "photo", "of", "the", "one", "picture", "an", "image", "itap", "noisy", "blurry", "rotated", "mirrored"),
    *("warped", "cat", "dog", "boat", "red", "small"),
)
# Of the tiny models' 99: CLIP's older configs read the vector at the highest id, which must be the end.
END = 98


def save_tokenizer(folder: Path) -> Path:
    """Writes tokenizer.json and its settings into a checkpoint's folder."""
    vocabulary = {word: place for place, word in enumerate(["<pad>", "<s>", "<unk>", *WORDS])} | {"</s>": END}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", END)]
    )
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    made: Any = hf.PreTrainedTokenizerFast
    made(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    return folder


def make_clip(folder: Path) -> Path:
    """A tiny CLIP checkpoint with both towers and this tokenizer."""
    model: Any = clip()
    model.config.text_config.eos_token_id = END
    widen(model)
    return save_tokenizer(save(model, folder))
