"""A tokenizer for tiny models: a word is a token. Saved as a user's checkpoint has it."""

from pathlib import Path

import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = (
    *("a", "photo", "of", "the", "one", "picture", "an", "image", "itap", "noisy", "blurry", "rotated", "mirrored"),
    *("warped", "cat", "dog", "boat", "red", "small"),
)
# Of the tiny models' 99: CLIP's older configs read the vector at the highest id, which must be the end.
END = 98


def save_tokenizer(folder: Path) -> Path:
    """Writes tokenizer.json and its settings into a checkpoint's folder."""
    vocabulary = {word: place for place, word in enumerate(["<pad>", "<s>", "<unk>", *WORDS])} | {"</s>": END}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", END)]
    )
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    return folder
