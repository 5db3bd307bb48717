"""Views reach the encoder in batches, smaller ones where the memory does not hold them."""

import numpy as np
import pytest

import embedshift
from embedshift import EmbedshiftError
from embedshift.encoders import EncoderOutput
from support.synthetic import write_pictures

pytestmark = pytest.mark.slow


class SmallMemory:
    """An encoder whose device holds `most` views, and says what torch says of more; remembers its batches."""

    name, dim, grid, size = "small-memory", 3, (2, 2), 32
    mean = std = (0.5, 0.5, 0.5)
    weights_hash = "none"

    def __init__(self, most: int) -> None:
        self.most, self.batches = most, []

    def __call__(self, views):
        if len(views) > self.most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")
        self.batches.append(len(views))
        light = views.reshape(len(views), 2, 16, 2, 16, 3).mean(axis=(2, 4, 5), dtype=np.float64)
        colours = views.mean(axis=(1, 2), dtype=np.float64)
        return EncoderOutput(colours.astype(np.float32), light.astype(np.float32), "mean")


def run(tmp_path, name, most):
    encoder = SmallMemory(most)
    settings = {"shard_size": 3, "batch_size": 24, "workers": 0}
    return embedshift.run(tmp_path / "photos", out=tmp_path / name, model=encoder, **settings), encoder


def test_a_batch_that_does_not_fit_is_halved_for_good_and_the_rows_stay(tmp_path):
    write_pictures(tmp_path / "photos", [f"{n}.png" for n in range(5)], 0)
    small, encoder = run(tmp_path, "small", most=7)
    large, _ = run(tmp_path, "large", most=100)
    assert small.rows().collect().equals(large.rows().collect())
    assert max(encoder.batches) == 6
    assert [record.batch_size for record in small.reader().records] == [6, 6]
    assert [record.batch_size for record in large.reader().records] == [24, 24]


def test_a_view_that_does_not_fit_alone_ends_the_run_with_one_line(tmp_path):
    write_pictures(tmp_path / "photos", ["0.png"], 0)
    with pytest.raises(EmbedshiftError, match="failed on a batch of 1 views: RuntimeError: CUDA out of memory"):
        run(tmp_path, "none", most=0)


@pytest.mark.matrix
def test_rows_do_not_depend_on_the_order_of_an_encoder_s_numbers_in_memory(tmp_path):
    """As torch may return them; sums over another order in memory differ by rounding."""

    class Transposed(SmallMemory):
        def __call__(self, views):
            output = super().__call__(views)
            attention = np.asfortranarray(output.attention)
            return EncoderOutput(np.asfortranarray(output.embedding), attention, output.attention_kind)

    write_pictures(tmp_path / "photos", [f"{n}.png" for n in range(5)], 0)
    plain, _ = run(tmp_path, "plain", most=100)
    settings = {"shard_size": 3, "batch_size": 24, "workers": 0}
    transposed = embedshift.run(tmp_path / "photos", out=tmp_path / "t", model=Transposed(100), **settings)
    assert transposed.rows().collect().equals(plain.rows().collect())
