"""Addresses that cannot be opened as they are named, and servers that never answer: each is one line, in time."""

import threading
import time

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from embedshift.errors import EmbedshiftError, UsageError
from embedshift.sources import open_source, web
from embedshift.sources.web import answered


class Silent(MemoryFileSystem):
    """A file system whose server accepts, and is silent when it is asked for some things."""

    protocol, about, ended = "silent", (), None

    def isdir(self, path):
        return self._wait("isdir") or False

    def isfile(self, path):
        return self._wait("isfile") or True

    def open(self, path, mode="rb", **more):
        self._wait("open")

    def _wait(self, what):
        if what in self.about:
            self.ended.wait(60)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "about"), [("images/", ["isdir", "isfile"]), ("a.jpg", ["isfile"]), ("a.tar", ["open"])]
)
def test_a_silent_server_is_one_line(name, about, monkeypatch):
    monkeypatch.setattr(web, "ANSWER", 0.5)
    monkeypatch.setattr(Silent, "about", about)
    monkeypatch.setattr(Silent, "ended", threading.Event())
    fsspec.register_implementation("silent", Silent, clobber=True)
    words, started = rf"^silent://host/{name}: its server did not answer in 0\.5 s; check the addr", time.monotonic()
    with pytest.raises(UsageError, match=words):
        open_source([f"silent://host/{name}"])
    Silent.ended.set()
    assert time.monotonic() - started < 10


def test_an_answer_in_time_is_the_answer():
    assert answered(lambda: 3) == 3
    assert answered(lambda: None) is None
    with pytest.raises(ZeroDivisionError):
        answered(lambda: 1 / 0)


@pytest.mark.parametrize(
    ("error", "words"),
    [(ImportError("Install s3fs"), "Install s3fs; install what is missing"),
     (ConnectionRefusedError(111, "Connection refused"), r"cannot be opened \(Connection refused\)$")],
)  # fmt: skip
def test_a_file_system_that_cannot_be_opened_is_one_line(error, words, monkeypatch):
    def refused(*_):
        raise error

    monkeypatch.setattr(fsspec, "url_to_fs", refused)
    for name in ("a.tar", "a.jpg"):
        with pytest.raises(UsageError, match=rf"^s3://host/{name}: {words}"):
            open_source([f"s3://host/{name}"])


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
    monkeypatch.setattr(web, "IMAGE_BYTES", 100)
    asked, real = [], type(files).cat_file
    monkeypatch.setattr(type(files), "cat_file", lambda *at, **way: asked.append(way) or real(*at, **way))
    source = open_source(["memory://limits"])
    assert source.read(source.samples[0]) == bytes(100)
    with pytest.raises(EmbedshiftError, match=r"^larger than 100 bytes"):
        source.read(source.samples[1])
    assert asked == [{"end": 101}, {"end": 101}]
