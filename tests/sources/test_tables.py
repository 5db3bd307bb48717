"""Tables of images, Parquet and saved datasets: which column, which cells, each row group once, and no path opened."""

import os
import pickle
import sys

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedshift import EmbedshiftError
from embedshift.errors import MissingExtra, UsageError
from embedshift.sources import open_source, select, shuffle
from embedshift.sources.datasets import DatasetSource, ParquetSource, image_bytes
from support import fuzz
from support.archives import write_parquet
from support.ordered import BLOCKS_OF_TWO, MEMBERS, WINDOW, two_parquets

NAMES = ["a.png", "b.JPG", "deep/c.png"]


def opened(tmp_path, **columns):
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    return open_source([str(tmp_path / "a.parquet")])


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, NAMES),
        ({"image_id": None, "key": ["0", None, "2"]}, ["0", "a.parquet#1", "2"]),
        ({"image_id": None, "path": list("vwx"), "url": list("abc")}, list("vwx")),
        ({"image_id": None}, [f"a.parquet#{row}" for row in range(3)]),
    ],
)
def test_ids_of_a_parquet(tmp_path, columns, expected):
    members = [(name, name.encode()) for name in NAMES]
    source = open_source([str(write_parquet(tmp_path / "a.parquet", members, **columns))])
    assert [sample.image_id for sample in source.samples] == expected


def test_a_row_without_an_image_fails_alone(tmp_path):
    source = opened(tmp_path, jpg=[b"1", None, b"3"], status=["success", "failed_to_download", ""], caption=list("abc"))
    assert [sample.caption for sample in source.samples] == list("abc")
    with pytest.raises(EmbedshiftError, match="the row contains no image"):
        source.read(source.samples[1])
    assert source.read(source.samples[2]) == b"3"


@pytest.mark.parametrize(
    "kind",
    [pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(3), pa.dictionary(pa.int32(), pa.binary())],
    ids=str,
)
def test_every_kind_of_bytes_in_a_column_is_read(tmp_path, kind):
    plain = pa.array([b"one", b"two"], kind.value_type if pa.types.is_dictionary(kind) else kind)
    source = opened(tmp_path, image=plain.dictionary_encode() if pa.types.is_dictionary(kind) else plain)
    assert [source.read(sample) for sample in source.samples] == [b"one", b"two"]


def test_a_hash_beside_the_images_is_not_taken_for_them(tmp_path):
    source = opened(tmp_path, md5=pa.array([b"x" * 16], pa.binary(16)), picture=pa.array([b"one"]))
    assert source.read(source.samples[0]) == b"one"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([{"bytes": "text", "path": "a.png"}], "struct<bytes: string, path: string>"),
        ([{"bytes": {"bytes": "x"}}], "struct<bytes: struct<bytes: string>>"),
        (["text"], "string"),
        ([None], "null"),
    ],
)
def test_a_column_of_no_bytes_is_named_with_its_type(tmp_path, values, kind):
    with pytest.raises(UsageError) as caught:
        opened(tmp_path, image=values)
    place = tmp_path / "a.parquet"
    assert str(caught.value) == f"{place}: the column 'image' contains {kind}, not the bytes of images (binary)"


@pytest.mark.parametrize("value", ["text", {"bytes": 3}, {"bytes": {"bytes": b"x"}}])
def test_a_cell_of_a_wrong_type_is_words(value):
    with pytest.raises(EmbedshiftError, match=r"^the row contains no bytes, but a value of the type "):
        image_bytes(value)


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


def test_each_row_group_is_read_once_and_eight_are_kept_and_none_is_pickled(tmp_path, reads):
    contents = dict(MEMBERS)
    source = open_source([str(place) for place in two_parquets(tmp_path)])
    assert isinstance(source, ParquetSource)
    empty = len(pickle.dumps(source))
    ordered, _ = shuffle(select(source.samples, limit=None, sample=None, seed=0), source, seed=0)
    most = 0
    for sample in ordered:
        assert source.read(sample) == contents[sample.image_id]
        most = max(most, len(source._groups))
    assert most == WINDOW
    assert len(reads) == 23
    assert set(reads) == {contents[block[0]] for block in BLOCKS_OF_TWO}
    parcel = pickle.dumps(source)
    assert len(parcel) == empty
    assert len(source._groups) == WINDOW, "here they stay"
    reads.clear()
    there = pickle.loads(parcel)
    assert there.read(ordered[0]) == contents[ordered[0].image_id]
    assert len(reads) == 1
    assert len(there.samples) == 0


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


def test_a_row_group_with_other_rows_than_were_listed_is_a_failure(tmp_path):
    """What fuzzing found: a damaged page with fewer rows was an IndexError, or would give the next row's image."""
    source = opened(tmp_path, image=[b"one", b"two", b"three"])
    opened(tmp_path, image=[b"two", b"three"])
    for sample in source.samples:
        with pytest.raises(EmbedshiftError, match=r"a\.parquet: damaged \(2 rows, expected 3\)"):
            source.read(sample)


@pytest.fixture
def saved(tmp_path):
    """A dataset as one may hand it on: its first image by a path, its second by its bytes."""
    (tmp_path / "secret.png").write_bytes(b"secret")
    cells = [{"bytes": None, "path": str(tmp_path / "secret.png")}, {"bytes": b"one", "path": "/etc/passwd"}]
    kinds = {"image": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}}
    datasets.Dataset.from_dict({"image": cells}, features=datasets.Features(kinds)).save_to_disk(tmp_path / "saved")
    pq.write_table(pa.table({"image": cells}), tmp_path / "a.parquet")
    return tmp_path / "saved"


def test_a_path_in_a_table_is_never_opened(saved, tmp_path):
    for place in (saved, tmp_path / "a.parquet"):
        source = open_source([str(place)])
        with pytest.raises(EmbedshiftError, match="a path instead of bytes; paths are not opened"):
            source.read(source.samples[0])
        assert source.read(source.samples[1]) == b"one"


def test_splits_of_a_saved_dataset(tmp_path):
    kinds = {"picture": datasets.Value("binary"), "text": datasets.Value("string")}
    columns = {"picture": [b"1", b"2"], "text": ["one", "two"]}
    part = datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))
    datasets.DatasetDict({"train": part, "test": part.select([1])}).save_to_disk(tmp_path / "saved")
    source = open_source([str(tmp_path / "saved")])
    found = [(s.image_id, s.caption) for s in source.samples]
    assert found == [("saved/train#0", "one"), ("saved/train#1", "two"), ("saved/test#0", "two")]
    assert source.read(source.samples[2]) == b"2"
    assert source.block(source.samples[1]) is None


def test_a_damaged_dataset_and_a_fifo_in_one_are_one_line(saved):
    (saved / "state.json").write_text("{")
    with pytest.raises(UsageError, match="not a saved dataset"):
        open_source([str(saved)])
    (saved / "state.json").unlink()
    os.mkfifo(saved / "state.json")
    with fuzz.within(60), pytest.raises(UsageError, match=r"not a saved dataset \(state\.json: a FIFO, not a file\)"):
        DatasetSource([str(saved)])


def test_without_the_library_the_line_names_the_extra(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"embedshift\[datasets\]") as caught:
        open_source([str(saved)])
    other = pickle.loads(pickle.dumps(caught.value))  # the same in another process
    assert (type(other), str(other), other.exit_code) == (MissingExtra, str(caught.value), 1)
