"""What is no file is not opened, wherever a file is expected: nothing waits, nothing is read without end."""

import os
import socket
import threading

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedshift import EmbedshiftError
from embedshift.config import read_config, safe_files
from embedshift.config.safe_files import read_file
from embedshift.errors import UsageError
from embedshift.sources import Roots, image_reader, open_source, select
from embedshift.sources.base import ImageRef, read_caption
from support import fuzz

EVERYWHERE = Roots(["/", "memory://"])

SIZE = 40 * 2**30


@pytest.fixture(autouse=True)
def no_wait():
    with fuzz.within(60):
        yield


def make(kind, path):
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "link to a FIFO":
        os.mkfifo(f"{path}.target")
        path.symlink_to(f"{path}.target")
    elif kind == "socket":
        here = os.getcwd()
        os.chdir(path.parent)
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
        os.chdir(here)
    else:
        path.symlink_to("/dev/zero")
    return path


KINDS = {"FIFO": "a FIFO", "link to a FIFO": "a FIFO", "socket": "a socket", "link to a device": "a device"}


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_that_is_no_file_fails_alone(tmp_path, kind):
    make(kind, tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(b"b")
    for place in (str(tmp_path), f"file://{tmp_path}"):
        source = open_source([place])
        samples = {sample.image_id: sample for sample in source.samples}
        assert source.read(samples["b.jpg"]) == b"b"
        if place.startswith("file") and "a.jpg" not in samples:
            continue  # fsspec lists files alone
        with pytest.raises(EmbedshiftError, match=f"^{KINDS[kind]}, not a file$"):
            source.read(samples["a.jpg"])
    with pytest.raises(EmbedshiftError, match="not a file"):
        image_reader(open_source([str(tmp_path)]).description, EVERYWHERE)("a.jpg")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["list.txt", "a.tar", "a.parquet"])
def test_an_argument_that_is_no_file_is_one_line(tmp_path, kind, name):
    path = make(kind, tmp_path / name)
    with pytest.raises(UsageError, match=f"{name}: {KINDS[kind]}, not a file$"):
        open_source([str(path)])


@pytest.mark.parametrize("kind", KINDS)
def test_settings_that_are_no_file_are_one_line(tmp_path, kind):
    with pytest.raises(UsageError, match=f"{KINDS[kind]}, not a file$"):
        read_config(make(kind, tmp_path / "a.yaml"))


def test_a_list_entry_and_a_caption_that_are_no_file(tmp_path, caplog):
    for name in ("a.jpg", "a.txt"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "list.txt").write_text("a.jpg\n")
    (source,) = [open_source([str(tmp_path / "list.txt")])]
    assert [(s.image_id, s.caption) for s in source.samples] == [("a.jpg", None)]
    with pytest.raises(EmbedshiftError, match="a FIFO"):
        source.read(source.samples[0])
    assert open_source([str(tmp_path)]).samples[0].caption is None
    assert "a.txt: no caption could be read (a FIFO, not a file)" in caplog.text


def test_a_large_file_is_refused_before_it_is_read(tmp_path):
    for name in ("a.jpg", "a.txt", "b.jpg"):
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, SIZE)
    source = open_source([str(tmp_path)])
    with pytest.raises(EmbedshiftError, match=r"larger than 1 GB \(40 GB\)"):
        source.read(source.samples[0])
    with pytest.raises(UsageError, match=r"a\.txt: larger than 256 MB \(40 GB\)"):
        open_source([str(tmp_path / "a.txt")])


def test_a_file_that_changes_its_size_meanwhile_is_a_failure_to_read(tmp_path, monkeypatch):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"abc")
    monkeypatch.setattr(safe_files, "refuse_larger", lambda size, most: path.write_bytes(b"abcd"))
    with pytest.raises(OSError, match="the file changed while it was read"):
        read_file(path, 10)


def test_a_fifo_that_takes_the_place_of_a_file_is_not_waited_for(tmp_path, monkeypatch):
    path, see = tmp_path / "a.jpg", os.stat
    path.write_bytes(b"abc")

    def swap(given):
        found = see(given)
        path.unlink()
        os.mkfifo(path)
        return found

    monkeypatch.setattr(os, "stat", swap)
    before = threading.active_count()
    with pytest.raises(EmbedshiftError, match="a FIFO"):
        read_file(path, 10)
    assert threading.active_count() == before


def test_an_image_that_vanishes_and_a_folder_in_its_place(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"abc")
    source = open_source([str(tmp_path)])
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(FileNotFoundError):
        source.read(source.samples[0])
    (tmp_path / "a.jpg").mkdir()
    with pytest.raises(IsADirectoryError):
        source.read(source.samples[0])


def test_a_name_with_a_zero_byte_in_a_list_is_one_line(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"a\0b.jpg\n")
    with pytest.raises(EmbedshiftError):
        open_source([str(tmp_path / "list.txt")])
    with pytest.raises(EmbedshiftError, match="zero byte"):
        read_file("a\0b", 3)


@pytest.mark.parametrize("path", ["", " ", "\t"])
def test_an_empty_path_is_refused(path):
    with pytest.raises(UsageError, match="an empty path"):
        open_source([path])


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".CSV"])
def test_a_table_is_no_list(tmp_path, ending):
    (tmp_path / f"a{ending}").write_text("a.jpg,cat\n")
    with pytest.raises(UsageError, match=r"a table is not a list of images; give a \.txt"):
        open_source([str(tmp_path / f"a{ending}")])
    (tmp_path / "folder.csv").mkdir()
    assert open_source([str(tmp_path / "folder.csv")]).samples == []


def test_settings_are_utf8_whatever_the_locale_is(tmp_path):
    (tmp_path / "a.yaml").write_bytes("images: é\n".encode())
    assert read_config(tmp_path / "a.yaml") == {"images": ["é"]}
    (tmp_path / "b.yaml").write_bytes("images: é\n".encode("latin-1"))
    with pytest.raises(UsageError, match="not text in UTF-8"):
        read_config(tmp_path / "b.yaml")


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 50_000, "- " * 100_000, '{"a":' * 40_000])
def test_settings_nested_without_end_are_one_line(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"nested deeper|not YAML"):
        read_config(tmp_path / "a.yaml")


def test_a_caption_nested_without_end_is_none():
    assert read_caption("a.json", b"[" * 200_000) is None


def test_two_names_that_are_stored_as_one_are_refused(tmp_path):
    for name in (b"caf\xe9.jpg", b"caf\\xe9.jpg"):
        with open(os.path.join(os.fsencode(tmp_path), name), "wb"):
            pass
    samples = open_source([str(tmp_path)]).samples
    assert len(samples) == 2
    with pytest.raises(UsageError, match=r"two images have the id 'caf\\\\xe9\.jpg'"):
        select(samples, limit=None, sample=None, seed=0)
    assert len(select([ImageRef("a", "1"), ImageRef("A", "2")], limit=None, sample=None, seed=0)) == 2


CELLS = [b"one", b"two"]


@pytest.mark.parametrize(
    "kind",
    [pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(3), pa.dictionary(pa.int32(), pa.binary())],
    ids=str,
)
def test_every_kind_of_bytes_in_a_column_is_read(tmp_path, kind):
    plain = pa.array(CELLS, kind.value_type if pa.types.is_dictionary(kind) else kind)
    column = plain.dictionary_encode() if pa.types.is_dictionary(kind) else plain
    pq.write_table(pa.table({"image": column}), tmp_path / "a.parquet")
    source = open_source([str(tmp_path / "a.parquet")])
    assert [source.read(sample) for sample in source.samples] == CELLS


def test_a_hash_beside_the_images_is_not_taken_for_them(tmp_path):
    table = {"md5": pa.array([b"x" * 16], pa.binary(16)), "picture": pa.array([b"one"])}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    source = open_source([str(tmp_path / "a.parquet")])
    assert source.read(source.samples[0]) == b"one"


def test_a_path_in_a_table_is_never_opened(tmp_path, monkeypatch):
    (tmp_path / "secret.png").write_bytes(b"secret")
    cells = [{"bytes": None, "path": str(tmp_path / "secret.png")}, {"bytes": b"one", "path": "/etc/passwd"}]
    pq.write_table(pa.table({"image": cells}), tmp_path / "a.parquet")
    source = open_source([str(tmp_path / "a.parquet")])
    with pytest.raises(EmbedshiftError, match="a path instead of bytes; paths are not opened"):
        source.read(source.samples[0])
    assert source.read(source.samples[1]) == b"one"


def test_a_damaged_row_group_is_a_failure_with_words(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": [bytes(range(256)) * 40]}), path, compression="zstd", use_dictionary=False)
    source = open_source([str(path)])
    data = bytearray(path.read_bytes())
    data[20:60] = b"x" * 40
    path.write_bytes(data)
    with pytest.raises((EmbedshiftError, OSError), match=r"damaged|Corrupt|thrift"):
        source.read(source.samples[0])


def test_a_row_group_with_other_rows_than_were_listed_is_a_failure(tmp_path):
    """What fuzzing found: a damaged page with fewer rows was an IndexError, or would give the next row's image."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": [b"one", b"two", b"three"]}), path)
    source = open_source([str(path)])
    pq.write_table(pa.table({"image": [b"two", b"three"]}), path)
    for sample in source.samples:
        with pytest.raises(EmbedshiftError, match=r"a\.parquet: damaged \(2 rows, expected 3\)"):
            source.read(sample)


def test_a_url_that_fails_is_a_failure_of_one_image(monkeypatch):
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pipe("/bucket/a.png", b"a")
    source = open_source(["memory://bucket"])
    memory.rm("/bucket/a.png")
    with pytest.raises(FileNotFoundError):
        source.read(source.samples[0])
