"""What cannot be opened as it is named: each is one line that says what to do."""

import fsspec
import pytest

from embedshift.errors import EmbedshiftError, UsageError
from embedshift.sources import open_source
from embedshift.sources import web as url


@pytest.mark.parametrize("name", ["a.tar", "a.parquet", "a.jpg", "photos/"])
def test_a_missing_library_is_named(name, monkeypatch):
    def missing(*_):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "url_to_fs", missing)
    words = rf"^s3://host/{name}: Install s3fs to access S3; install what is missing"
    with pytest.raises(UsageError, match=words):
        open_source([f"s3://host/{name}"])


def test_a_file_system_that_cannot_be_opened_is_one_line(monkeypatch):
    def refused(*_):
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(fsspec, "url_to_fs", refused)
    with pytest.raises(UsageError, match=r"^ftp://host/a\.jpg: cannot be opened \(Connection refused\)$"):
        open_source(["ftp://host/a.jpg"])


def test_an_address_that_is_none_is_one_line():
    with pytest.raises(UsageError, match=r"^http://\[::zz\]/a\.png: cannot be opened \(it is no address\)$"):
        open_source(["http://[::zz]/a.png"])


def test_addresses_of_several_kinds_are_refused(tmp_path):
    fsspec.filesystem("memory").pipe("/kinds/a.jpg", b"")
    (tmp_path / "list.txt").write_text("memory://kinds/a.jpg\nhttp://127.0.0.1:1/a.jpg\n")
    with pytest.raises(UsageError, match=r"^addresses of several kinds \(http, memory\); use one kind"):
        open_source([str(tmp_path / "list.txt")])


@pytest.mark.parametrize(
    "address", ["http://me:secret@host/a.png", "ftp://me:secret@host/a.tar", "simplecache::https://me:secret@host/"]
)
def test_a_password_is_neither_taken_nor_printed(address, tmp_path):
    (tmp_path / "list.txt").write_text(address)
    for given in (address, str(tmp_path / "list.txt")):
        with pytest.raises(UsageError, match=r"://…@host/.*: an address with a password, which the study") as caught:
            open_source([given])
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.tar.gz", "a.TGZ", "a.tar.zst", "a.zip"])
def test_a_compressed_archive_is_not_called_an_image(name, tmp_path):
    (tmp_path / name).write_bytes(b"packed")
    with pytest.raises(UsageError, match=rf"{name}: a compressed archive; unpack it, or give a \.tar that is not"):
        open_source([str(tmp_path / name)])


def test_no_more_of_a_url_is_read_than_an_image_may_have(monkeypatch):
    files = fsspec.filesystem("memory")
    files.pipe({"/limits/a.jpg": bytes(100), "/limits/b.jpg": bytes(101)})
    monkeypatch.setattr(url, "IMAGE_BYTES", 100)
    asked, real = [], type(files).cat_file
    monkeypatch.setattr(type(files), "cat_file", lambda *at, **way: asked.append(way) or real(*at, **way))
    source = open_source(["memory://limits"])
    assert source.read(source.samples[0]) == bytes(100)
    with pytest.raises(EmbedshiftError, match=r"^larger than 100 bytes"):
        source.read(source.samples[1])
    assert asked == [{"end": 101}, {"end": 101}]
