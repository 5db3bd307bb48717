"""Single-bit flips over all files of a study: what `verify` and the readers make of each."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from embedshift.errors import EmbedshiftError
from embedshift.store.listing import verify
from embedshift.study import Study

Flip = tuple[Path, int, int]


def flips(folder: Path, count: int, seed: int) -> list[Flip]:
    """Places of bits: every file gets the same number, however small it is."""
    rng = random.Random(seed)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    chosen = [files[number % len(files)] for number in range(count)]
    return [(path, rng.randrange(path.stat().st_size), rng.randrange(8)) for path in chosen]


def wrong(study: Study, places: list[Flip], truth: dict[str, pl.DataFrame]) -> Iterator[str]:
    """Yields each flip that `verify` calls intact though other content is read, or that changes a table's numbers."""
    for path, byte, bit in places:
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[byte] ^= 1 << bit
        path.write_bytes(flipped)
        where = f"{path.relative_to(study.folder)}, byte {byte}, bit {bit}"
        try:
            if not verify(study.folder).damaged and not _reads_the_same(path, whole, bytes(flipped)):
                yield f"{where}: called intact"
            if path.suffix in (".parquet", ".json"):
                yield from (f"{where}: {problem}" for problem in _other_numbers(study, path, truth))
        finally:
            path.write_bytes(whole)


def _reads_the_same(path: Path, whole: bytes, flipped: bytes) -> bool:
    """An escape or an exponent in capitals, for example, is the same JSON."""
    if path.name != "study.json":
        return False
    try:
        return bool(json.loads(flipped) == json.loads(whole))
    except ValueError:
        return False


def _other_numbers(study: Study, path: Path, truth: dict[str, pl.DataFrame]) -> Iterator[str]:
    names = [path.stem] if path.parent.name == "tables" else ["summary"]
    for name in names:
        try:
            if not study.table(name).equals(truth[name], null_equal=True):
                yield f"table {name} has other numbers"
        except EmbedshiftError:
            pass  # refused
