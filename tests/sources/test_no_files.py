"""What is no file is not opened, wherever a file is expected: nothing waits, nothing is read without end."""

import os
import threading

import pytest

from embedshift import EmbedshiftError
from embedshift.config import read_config, safe_files
from embedshift.config.safe_files import read_file
from embedshift.errors import UsageError
from embedshift.sources import Roots, image_reader, open_source, select
from embedshift.sources.base import ImageRef, read_caption
from support import fuzz
from support.corpus import make_holes, make_socket

EVERYWHERE = Roots(["/", "memory://"])


@pytest.fixture(autouse=True)
def no_wait():
    with fuzz.within(60):
        yield


def link_to_a_fifo(path):
    os.mkfifo(f"{path}.target")
    path.symlink_to(f"{path}.target")


KINDS = {
    "FIFO": (os.mkfifo, "a FIFO"),
    "link to a FIFO": (link_to_a_fifo, "a FIFO"),
    "socket": (make_socket, "a socket"),
    "link to a device": (lambda path: path.symlink_to("/dev/zero"), "a device"),
}


def make(kind, path):
    KINDS[kind][0](path)
    return path


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
        with pytest.raises(EmbedshiftError, match=f"^{KINDS[kind][1]}, not a file$"):
            source.read(samples["a.jpg"])
    with pytest.raises(EmbedshiftError, match="not a file"):
        image_reader(open_source([str(tmp_path)]).description, EVERYWHERE)("a.jpg")


@pytest.mark.parametrize("kind", KINDS)
def test_an_argument_that_is_no_file_is_one_line(tmp_path, kind):
    for name in ("list.txt", "a.tar", "a.parquet"):
        path = make(kind, tmp_path / name)
        with pytest.raises(UsageError, match=f"{name}: {KINDS[kind][1]}, not a file$"):
            open_source([str(path)])
    with pytest.raises(UsageError, match=f"{KINDS[kind][1]}, not a file$"):
        read_config(make(kind, tmp_path / "a.yaml"))


def test_a_list_entry_and_a_caption_that_are_no_file(tmp_path, caplog):
    for name in ("a.jpg", "a.txt"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "list.txt").write_text("a.jpg\n")
    source = open_source([str(tmp_path / "list.txt")])
    assert [(s.image_id, s.caption) for s in source.samples] == [("a.jpg", None)]
    with pytest.raises(EmbedshiftError, match="a FIFO"):
        source.read(source.samples[0])
    assert open_source([str(tmp_path)]).samples[0].caption is None
    assert "a.txt: no caption could be read (a FIFO, not a file)" in caplog.text


def test_a_large_file_is_refused_before_it_is_read(tmp_path):
    for name in ("a.jpg", "a.txt"):
        make_holes(tmp_path / name)
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


def test_an_empty_path_is_refused():
    with pytest.raises(UsageError, match="an empty path"):
        open_source([" "])


def test_a_table_is_no_list(tmp_path):
    for name in ("a.CSV", "a.tsv"):
        (tmp_path / name).write_text("a.jpg,cat\n")
        with pytest.raises(UsageError, match=r"a table is not a list of images; give a \.txt"):
            open_source([str(tmp_path / name)])
    (tmp_path / "folder.csv").mkdir()
    assert open_source([str(tmp_path / "folder.csv")]).samples == []


def test_settings_are_utf8_whatever_the_locale_is(tmp_path):
    (tmp_path / "a.yaml").write_bytes("images: é\n".encode())
    assert read_config(tmp_path / "a.yaml") == {"images": ["é"]}
    (tmp_path / "b.yaml").write_bytes("images: é\n".encode("latin-1"))
    with pytest.raises(UsageError, match="not text in UTF-8"):
        read_config(tmp_path / "b.yaml")


@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 100_000])
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
