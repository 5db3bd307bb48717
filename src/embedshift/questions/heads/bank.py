"""Runs beside the encoder: texts that name heads, as vectors in the space of each head."""

import importlib.util

import numpy as np
import torch

from embedshift.config.safe_files import expanded, read_text
from embedshift.encoders.dissection.anatomy import Anatomy
from embedshift.encoders.dissection.linear import head_matrices
from embedshift.errors import UsageError
from embedshift.pipeline.measure import Observer
from embedshift.questions.heads.textspan import LAST_BLOCKS
from embedshift.questions.heads.words import WordSpace
from embedshift.statistics.vectors import normalised

MOST_BYTES = 2**20
MOST_TEXTS = 10_000


def bank_and_space(observer: Observer, anatomy: Anatomy, file: str | None) -> tuple[tuple[str, ...], WordSpace]:
    texts = read_bank(file)
    blocks = range(max(0, len(anatomy.layers) - LAST_BLOCKS), len(anatomy.layers))
    try:
        matrices = [matrix.cpu() for matrix in head_matrices(anatomy, blocks)]
    except UsageError as error:
        raise UsageError(f"{observer.encoder.name} {error}: its heads cannot be described") from error
    vectors = torch.from_numpy(normalised(observer.text_vectors(texts)))
    decompositions = [torch.linalg.qr(matrix) for matrix in matrices]
    bases = torch.stack([triangle for _, triangle in decompositions])
    coordinates = torch.stack([vectors @ orthonormal for orthonormal, _ in decompositions])
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
    lines = read_text(expanded(file), MOST_BYTES).splitlines()
    texts = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if odd := next((text for text in texts if not text.isprintable()), None):
        raise UsageError(f"{file}: {odd!a} contains characters that cannot be printed")
    if not 2 <= len(texts) <= MOST_TEXTS:
        raise UsageError(f"{file} has {len(texts)} texts, one per line; it must have 2 to {MOST_TEXTS:,}")
    return texts
