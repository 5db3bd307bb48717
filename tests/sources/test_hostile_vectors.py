"""Files of vectors from a stranger: whatever they hold, one line says what cannot be read."""

import warnings

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedshift.augmentations import Augmentation
from embedshift.errors import UsageError
from embedshift.sources.vectors import VectorSet

HEADERS = {
    "cut": "{'descr': '<f4', 'shape': (2,\\",
    "too deep": "(" * 9_000,
    "a shape of 30 digits": "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 30 + ", 8), }\n",
    "a shape of a truth value": "{'descr': '<f4', 'fortran_order': False, 'shape': (True, 8), }\n",
}


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_that_numpy_cannot_read_is_one_line(header, tmp_path):
    path = tmp_path / "vectors.npy"
    text = HEADERS[header].encode()
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(64))
    with pytest.raises(UsageError, match=r"vectors\.npy: cannot be read \("):
        VectorSet.open(path, "original")


def columns(**changed):
    given = {"image_id": pa.array(["a", "b"]), "view": pa.array(["original"] * 2), "vector": pa.array([[1.0, 2.0]] * 2)}
    return given | changed


@pytest.mark.parametrize("name", ["image_id", "view", "caption"])
def test_bytes_that_are_no_text_are_one_line(name, tmp_path):
    buffers = pa.array([b"\xff1", b"\xff2"], pa.binary()).buffers()
    path = tmp_path / "vectors.parquet"
    pq.write_table(pa.table(columns(**{name: pa.Array.from_buffers(pa.string(), 2, buffers)})), path)
    with pytest.raises(UsageError, match=r"vectors\.parquet: cannot be read \(.*UTF8"):
        VectorSet.open(path, "original")


def test_a_column_that_is_there_twice_is_one_line(tmp_path):
    path = tmp_path / "vectors.parquet"
    pq.write_table(pa.table([*columns().values(), pa.array(["c", "d"])], [*columns(), "image_id"]), path)
    with pytest.raises(UsageError, match=r"vectors\.parquet: cannot be read \("):
        VectorSet.open(path, "original")


def test_damage_that_only_the_vectors_show_is_one_line_that_names_the_file(tmp_path):
    path = tmp_path / "vectors.parquet"
    vectors = pa.array(np.random.default_rng(0).normal(size=(2, 500)).tolist())
    pq.write_table(pa.table(columns(vector=vectors)), path, use_dictionary=False)
    place = pq.read_metadata(path).row_group(0).column(2).data_page_offset
    content = bytearray(path.read_bytes())
    content[place + 30 : place + 90] = bytes([255] * 60)
    path.write_bytes(content)
    part = VectorSet.open(path, "original")
    with pytest.raises(UsageError, match=r"vectors\.parquet: cannot be read \("):
        list(part.read())


@pytest.mark.parametrize("kind", ["npy", "parquet"])
def test_long_vectors_are_read_a_few_at_a_time(kind, tmp_path):
    path = tmp_path / f"vectors.{kind}"
    if kind == "npy":
        array = np.lib.format.open_memmap(path, "w+", np.float16, (60, 300_000))  # a hole on the disk
        array[:, 7] = range(60)
    else:
        array = np.zeros((60, 300_000), np.float16)
        array[:, 7] = range(60)
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), 300_000)
        ids, views = map(str, range(60)), ["original"] * 60
        pq.write_table(pa.table(columns(image_id=pa.array(ids), view=pa.array(views), vector=vectors)), path)
    found = [(matrix[:, 7].copy(), matrix.size * 4) for matrix in VectorSet.open(path, "original").read()]
    assert np.concatenate([numbers for numbers, _ in found]).tolist() == [*range(60)]
    assert max(size for _, size in found) <= 2**23


def test_a_name_with_a_zero_byte_is_refused_before_a_library_panics():
    with pytest.raises(UsageError, match="cannot be a name"):
        Augmentation("a\0b", lambda image, rng: image)


def test_a_frame_of_vectors_alone_is_read_as_its_parquet_file_and_large_numbers_without_a_word_of_numpy(tmp_path):
    frame = pl.DataFrame({"vector": [[1.0, 2.0], [1e300, 4.0]]})
    frame.write_parquet(tmp_path / "vectors.parquet")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parts = [VectorSet.open(given, "original", named=False) for given in (frame, tmp_path / "vectors.parquet")]
        read = [np.concatenate([*part.blocks()]).tolist() for part in parts]
    assert read == [[[1, 2], [np.inf, 4]]] * 2
    assert parts[0].keys.equals(parts[1].keys)
