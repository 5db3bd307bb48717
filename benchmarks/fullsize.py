"""What benchmarks of whole studies need: a full-size encoder that any process can load, and photos enough."""

import shutil
from pathlib import Path

import torch
import transformers
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from embedshift.sources import FolderSource


def save_clip(folder: Path) -> Path:
    """A checkpoint of CLIP ViT-B/32's vision part with random weights: speed does not depend on them."""
    torch.manual_seed(0)
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    CLIPVisionModelWithProjection(CLIPVisionConfig()).save_pretrained(folder)
    return folder


def repeat_photos(photos: Path, count: int, folder: Path) -> list[Path]:
    """Copies of the photos in a folder, again and again under other names, until there are `count`; in order."""
    found = [Path(sample.location) for sample in FolderSource([str(photos)]).samples]
    folder.mkdir()
    copies = [folder / f"{number:06d}{found[number % len(found)].suffix}" for number in range(count)]
    for number, copy in enumerate(copies):
        shutil.copy(found[number % len(found)], copy)
    return copies
