"""Equal stacks on other threads, batches and precisions: none of 60 comparisons names a cause."""

import numpy as np
import pytest
import torch
from transformers import Dinov2Model

import embedshift
from embedshift.sources.images import decode
from embedshift.stacks.images import read_images
from support import models
from support.matrix import first_only

pytestmark = pytest.mark.slow

MEAN, STD = (np.array(triple, np.float32) for triple in (models.MEAN, models.STD))


def passes(net, squares, batch, dtype):
    """transformers' network on squares of the input's size, some at a time."""
    pixels = torch.from_numpy(((squares / np.float32(255) - MEAN) / STD).transpose(0, 3, 1, 2).copy())
    with torch.inference_mode():
        parts = [net(pixel_values=part.to(dtype)).last_hidden_state[:, 0] for part in pixels.split(batch)]
    return torch.cat(parts).float().numpy()


@pytest.mark.parametrize("precision", first_only(["float32", "bfloat16"]))
@pytest.mark.parametrize("seed", first_only(range(5)))
def test_nothing_is_named(seed, precision, tmp_path):
    model = models.dinov2()
    models.widen(model, seed=seed)
    folder = models.save(model, tmp_path / "model")
    photos = models.pictures(tmp_path / "photos", 8, width=models.SIZE, height=models.SIZE, seed=seed)
    squares = np.stack([decode(data) for data in read_images(photos, 8).values()])
    threads, dtype = torch.get_num_threads(), getattr(torch, precision)
    net = Dinov2Model.from_pretrained(folder, dtype=dtype).eval()
    reference = embedshift.load_encoder(str(folder), precision=precision)
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            for batch in (1, 3, 8):
                result = embedshift.parity(reference, passes(net, squares, batch, dtype), photos)
                assert result.table().is_empty(), result.sentence
                assert result.passed, result.verdict
    finally:
        torch.set_num_threads(threads)
