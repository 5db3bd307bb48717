"""Runs beside the encoder: texts that name heads, as vectors in the space of each head."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch

from embedshift.config.files import read_text
from embedshift.encoders.base import Encoder, ReadsText
from embedshift.encoders.dissection.anatomy import Anatomy
from embedshift.encoders.dissection.linear import of_heads
from embedshift.encoders.spec import EncoderSpec
from embedshift.errors import UsageError
from embedshift.questions.heads.textspan import LAST_BLOCKS
from embedshift.questions.heads.words import WordSpace
from embedshift.statistics.vectors import unit

MOST_BYTES = 2**20
MOST_TEXTS = 10_000


def bank_and_space(
    spec: EncoderSpec, encoder: Encoder, anatomy: Anatomy, file: str | None
) -> tuple[tuple[str, ...], WordSpace]:
    """Returns the texts, and the space in which the heads of the last blocks are compared with them."""
    texts = read_bank(file)
    blocks = range(max(0, len(anatomy.layers) - LAST_BLOCKS), len(anatomy.layers))
    try:
        matrices = [each.cpu() for each in of_heads(anatomy, blocks)]
    except UsageError as error:
        raise UsageError(f"{encoder.name} {error}: its heads cannot be described") from error
    tower = spec.text_tower(encoder)
    read: Any = tower.encode_text if isinstance(tower, ReadsText) else tower
    given = np.asarray(read(list(texts)), np.float64)
    if given.shape != (len(texts), encoder.dim):
        raise UsageError(f"{encoder.name}: its text tower gives {given.shape} for {len(texts)} texts")
    vectors, found = torch.from_numpy(unit(given)), [torch.linalg.qr(each) for each in matrices]
    bases = torch.stack([triangle for _, triangle in found])
    coordinates = torch.stack([vectors @ orthonormal for orthonormal, _ in found])
    sizes = [(layer.weight.shape[0], layer.weight.shape[1]) for layer in anatomy.layers]
    return texts, WordSpace(sizes, bases.float().numpy(), np.asarray(coordinates, np.float32))


def read_bank(file: str | None) -> tuple[str, ...]:
    """Reads the texts of a bank, each once; raises UsageError if there are none or too many."""
    if file is None:
        if importlib.util.find_spec("open_clip") is None:
            raise UsageError(
                "the default bank needs open_clip (pip install 'embedshift[openclip]'), or give your own `bank`"
            )
        from open_clip import IMAGENET_CLASSNAMES

        return tuple(f"a photo of a {name}" for name in dict.fromkeys(IMAGENET_CLASSNAMES))
    lines = read_text(Path(file).expanduser(), MOST_BYTES).splitlines()
    texts = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if odd := next((text for text in texts if not text.isprintable()), None):
        raise UsageError(f"{file}: {odd!a} contains characters that cannot be printed")
    if not 2 <= len(texts) <= MOST_TEXTS:
        raise UsageError(f"{file} has {len(texts)} texts, one per line; it must have 2 to {MOST_TEXTS:,}")
    return texts
