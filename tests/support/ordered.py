"""Ninety images, and the order of a study by loops that hash by themselves."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from embedshift.sources import open_source, select, shuffle
from support.archives import write_parquet

Members = Sequence[tuple[str, bytes]]
WINDOW = 8
SHUFFLED, BLOCKS = "shuffled", "blocks in drawn order, shuffled in windows of 8"
# Names as people have them: out of order in their archive, and bytes that are no text.
MEMBERS = [(f"{name:03}.png", b"content of %d" % name) for name in np.random.default_rng(2).permutation(90).tolist()]
NAMES = [name for name, _ in MEMBERS]


def place(seed: int, text: str) -> bytes:
    return hashlib.blake2b(f"{seed}|order|{text}".encode("utf-8", "surrogateescape"), digest_size=8).digest()


def slowly(ids: Iterable[str], seed: int, mark: str = "") -> list[str]:
    """The ids by their hashes: the least of what is left, again and again."""
    left, order = list(ids), []
    while left:
        least = left[0]
        for other in left[1:]:
            if place(seed, mark + other) < place(seed, mark + least):
                least = other
        left.remove(least)
        order.append(least)
    return order


def slowly_in_blocks(blocks: Sequence[list[str]], seed: int) -> list[list[str]]:
    """Window by window: blocks by the hash of their least id, and in every eight of them the ids by theirs."""
    named = {}
    for block in blocks:
        named[min(block)] = block
    windows, turn = [], slowly(named, seed, mark="block|")
    while turn:
        windows.append([image_id for name in turn[:WINDOW] for image_id in named[name]])
        turn = turn[WINDOW:]
    return [slowly(window, seed) for window in windows]


def order_of(
    places: Iterable[Path | str], *, seed: int = 0, limit: int | None = None, sample: int | None = None
) -> tuple[list[str], str]:
    """What a study would take: the images in order, and the name of the order."""
    source = open_source([str(place) for place in places])
    ordered, name = shuffle(select(source.samples, limit=limit, sample=sample, seed=seed), source, seed=seed)
    return [each.image_id for each in ordered], name


def folder(path: Path, members: Members = MEMBERS) -> Path:
    path.mkdir()
    for name, data in members:
        (path / name).write_bytes(data)
    return path


def groups_of(members: Members, size: int = 4) -> list[list[str]]:
    names = [name for name, _ in members]
    return [names[start : start + size] for start in range(0, len(names), size)]


BLOCKS_OF_TWO = groups_of(MEMBERS[:50]) + groups_of(MEMBERS[50:])


def two_parquets(folder: Path) -> list[Path]:
    """23 row groups in two files, the last of each short: three windows, the last short too."""
    one = write_parquet(folder / "one.parquet", MEMBERS[:50], rows=4)
    two = write_parquet(folder / "two.parquet", MEMBERS[50:], rows=4)
    return [one, two]
