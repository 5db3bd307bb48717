"""Parquet read in the order of a study: each row group once, a few kept, none sent to a worker."""

import os
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedshift.errors import EmbedshiftError, UsageError
from embedshift.sources import open_source, select, shuffle
from embedshift.sources.datasets import ParquetSource
from support.fuzz import within
from support.ordered import BLOCKS_OF_TWO, MEMBERS, WINDOW, two_parquets


@pytest.fixture
def parquets(tmp_path):
    return two_parquets(tmp_path)


@pytest.fixture
def reads(monkeypatch):
    """The first image of each row group that was read, in the order of the reads."""
    seen, real = [], pq.ParquetFile.read_row_group

    def read(file, *arguments, **more):
        table = real(file, *arguments, **more)
        seen.append(table.column(0)[0].as_py())
        return table

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", read)
    return seen


def test_each_row_group_is_read_once_and_eight_are_kept(parquets, reads):
    contents = dict(MEMBERS)
    for seed in (0, 1):
        source = open_source([str(place) for place in parquets])
        reads.clear()
        ordered, _ = shuffle(select(source.samples, limit=None, sample=None, seed=seed), source, seed=seed)
        most = 0
        for sample in ordered:
            assert source.read(sample) == contents[sample.image_id]
            most = max(most, len(source._groups))
        assert most == WINDOW
        assert len(reads) == 23
        assert set(reads) == {contents[block[0]] for block in BLOCKS_OF_TWO}
    # Sorted ids lie anywhere in the files: so are most images read with a row group of their own.
    reads.clear()
    source = open_source([str(place) for place in parquets])
    for sample in sorted(source.samples):
        source.read(sample)
    assert len(reads) > 45


def test_a_pickled_source_carries_no_row_group(parquets, reads):
    source = open_source([str(place) for place in parquets])
    assert isinstance(source, ParquetSource)
    empty = len(pickle.dumps(source))
    ordered, _ = shuffle(source.samples, source, seed=0)
    for sample in ordered[:40]:
        source.read(sample)
    assert len(source._groups) == WINDOW
    parcel = pickle.dumps(source)
    assert len(parcel) == empty
    assert not any(data in parcel for _, data in MEMBERS)
    assert len(source._groups) == WINDOW, "here they stay"
    reads.clear()
    there = pickle.loads(parcel)
    assert not there._groups
    assert there.read(ordered[0]) == dict(MEMBERS)[ordered[0].image_id]
    assert len(reads) == 1
    assert there.samples == source.samples


def test_a_row_group_that_is_damaged_after_it_was_listed_is_named(tmp_path):
    place = tmp_path / "a.parquet"
    rows = pa.table({"image": [b"one" * 90, b"two" * 90], "image_id": ["a", "b"]})
    pq.write_table(rows, place, row_group_size=1, compression="none", use_dictionary=False, write_statistics=False)
    source = open_source([str(place)])
    content = bytearray(place.read_bytes())
    start = content.index(b"twotwo")
    content[start - 4 : start] = b"\xff\xff\xff\x7f"  # how long it is
    place.write_bytes(content)
    assert source.read(source.samples[0]) == b"one" * 90
    with pytest.raises(EmbedshiftError, match=r"a\.parquet: damaged \("):
        source.read(source.samples[1])


def test_what_is_no_file_is_named_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.parquet")
    with within(60), pytest.raises(UsageError, match=r"a\.parquet: a FIFO, not a file"):
        open_source([str(tmp_path / "a.parquet")])
