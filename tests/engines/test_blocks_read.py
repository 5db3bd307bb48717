"""Before loaders are forked for one shard, every block that it stands in is read once, and never waited for."""

from types import SimpleNamespace

import pytest

from embedshift.engines.local import read_blocks


class Blocks:
    """A source of images in blocks of three; it keeps which were read, and some cannot be."""

    def __init__(self, of_blocks: bool = True, broken: int | None = None) -> None:
        self.of_blocks, self.broken = of_blocks, broken
        self.read_ones: list[int] = []

    def block(self, sample: int) -> tuple[str, int] | None:
        return ("file", sample // 3) if self.of_blocks else None

    def read(self, sample: int) -> bytes:
        self.read_ones.append(sample)
        if sample // 3 == self.broken:
            raise OSError("gone")
        return b""


SHARDS = [SimpleNamespace(samples=[0, 1, 2, 3]), SimpleNamespace(samples=[4, 5, 6])]


def plan(source: Blocks, workers: int = 2) -> SimpleNamespace:
    return SimpleNamespace(source=source, config=SimpleNamespace(workers=workers, image_timeout=30.0))


@pytest.mark.parametrize("broken", [None, 1])
def test_one_image_of_each_block_is_read_and_a_broken_one_stops_nothing(broken):
    source = Blocks(broken=broken)
    read_blocks(SHARDS, plan(source))
    assert sorted(sample // 3 for sample in source.read_ones) == [0, 1, 2]


def test_nothing_is_read_without_loaders_or_blocks():
    alone, single = Blocks(), Blocks(of_blocks=False)
    read_blocks(SHARDS, plan(alone, workers=0))
    read_blocks(SHARDS, plan(single))
    assert alone.read_ones == single.read_ones == []
