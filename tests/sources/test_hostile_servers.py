"""Servers of http that send too much, too little, something else or nothing: one line each, and no wrong pixels."""

import contextlib
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from embedshift.errors import EmbedshiftError, UsageError, cause
from embedshift.sources import open_source, tar, web
from support.archives import write_tar
from support.matrix import first_only
from support.pictures import encoded


def picture(seed):
    return encoded(np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8), "PNG")


PICTURE, EMPTY = picture(0), tarfile.TarInfo("a.png").tobuf()


class Hostile(BaseHTTPRequestHandler):
    """Does what the first part of a path says."""

    sent, passwords, refused = 0, [], 0
    until, wrong, archive = threading.Event(), False, b""

    def do_GET(self):
        Hostile.passwords.append(self.headers["Authorization"])
        with contextlib.suppress(OSError):
            getattr(self, self.path.split("/")[1])()

    def answer(self, content=b"", status=200, **headers):
        self.send_response(status)
        names = {name.replace("_", "-"): text for name, text in headers.items()}
        for name, text in ({"Content-Length": len(content), "Content-Type": "image/png"} | names).items():
            if text is not None:
                self.send_header(name, str(text))
        self.end_headers()
        self.wfile.write(content)

    def good(self):
        self.answer(PICTURE)

    def endless(self):
        self.answer(Content_Length=None)
        while True:
            Hostile.sent += self.wfile.write(bytes(2**16))

    def short(self):
        self.answer(PICTURE[:-50], Content_Length=len(PICTURE))

    def silent(self):
        self.answer(PICTURE[:50], Content_Length=len(PICTURE))
        self.wfile.flush()
        self.until.wait(60)

    def packed(self):
        self.answer(PICTURE, Content_Encoding="gzip")

    def busy(self):
        self.answer(status=503)

    def limited(self):
        """Twice what stands in the path, then the image."""
        Hostile.refused += 1
        status, seconds = self.path.split("/")[2:4]
        if Hostile.refused > 2:
            self.good()
        else:
            self.answer(status=int(status), Retry_After=seconds)

    def circle(self):
        self.answer(status=302, Location=f"{self.path}x")

    def to_file(self):
        self.answer(status=302, Location="file:///etc/passwd")

    def moved(self):
        self.answer(status=302, Location="/good/a.png")

    def moved_away(self):
        """To the same server under another name."""
        self.answer(status=302, Location=f"http://localhost:{self.server.server_port}/good/a.png")

    def pages(self):
        """A folder whose links lead everywhere."""
        far = "x" * 99
        links = ("b.png", "./c.png", f"../{far}/d.png", "%2e%2e/e.png", f"//other/{far}/f.png", "data:,h.png")
        page = "".join(f'<a href="{link}">' for link in ("a.png", "./", "sub/", "gone/", *links))
        below = self.path.removeprefix("/pages/")
        texts = {"": page.encode(), "sub/": b"<a href='i.png'>"}
        self.answer(texts.get(below, b""), status=200 if below in texts else 404, Content_Type="text/html")

    def deeper(self):
        self.answer(b'<a href="a/"><a href="a.png">', Content_Type="text/html")

    def slow_to_parse(self):
        self.answer(b'<a href="a.png">' + b"<a " * 300_000, Content_Type="text/html")

    def tar(self):
        start, end = (int(number) for number in self.headers["Range"].removeprefix("bytes=").split("-"))
        end = min(end, len(self.archive) - 1)
        if self.wrong == "whole":
            self.answer(self.archive[: end + 1 - start])
        else:
            start += {"shifted": -512, "later": 512}.get(self.wrong, 0)
            end -= 512 if self.wrong == "shifted" else 0
            size = len(self.archive)
            self.answer(self.archive[start : end + 1], status=206, Content_Range=f"bytes {start}-{end}/{size}")

    def members(self):
        """Members of no bytes, up to a terabyte."""
        start, end = (int(number) for number in self.headers["Range"].removeprefix("bytes=").split("-"))
        part = EMPTY * ((end - start) // 512 + 2)
        self.answer(part[start % 512 :][: end + 1 - start], status=206, Content_Range=f"bytes {start}-{end}/{10**12}")

    def no_parts(self):
        self.answer(self.archive)

    def log_message(self, *_):
        """Says nothing."""


@pytest.fixture
def address(monkeypatch, tmp_path):
    monkeypatch.setattr(web, "ANSWER", 1.0)
    packed = write_tar(tmp_path / "packed.tar", [(f"{number}.png", picture(number)) for number in range(3)])
    fresh = {"wrong": False, "sent": 0, "refused": 0, "passwords": [], "archive": packed.read_bytes()}
    for name, value in fresh.items():
        monkeypatch.setattr(Hostile, name, value)
    Hostile.until.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    Hostile.until.set()
    server.shutdown()
    server.server_close()


def read(location):
    source = open_source([location])
    return source.read(source.samples[0])


def test_a_body_without_end_is_read_as_far_as_an_image_may_go(address, monkeypatch):
    monkeypatch.setattr(web, "IMAGE_BYTES", 2**20)
    with pytest.raises(EmbedshiftError, match=r"^larger than 1 MB"):
        read(f"{address}/endless/a.png")
    assert Hostile.sent < 2**25  # what the buffers of both sides take


FAULTS = {
    "short": "its server stopped before the end; try later",
    "silent": "its server sent nothing for 1 s; try later",
    "packed": "its server packs it",
    "busy": "its server answers 503 (service unavailable)",
    "circle": "its server redirects more than 10 times",
    "to_file": "its server leads to another kind of address (file); refused",
}


@pytest.mark.parametrize(
    "fault", [*(name for name in FAULTS if name != "silent"), pytest.param("silent", marks=pytest.mark.slow)]
)
def test_what_a_server_does_wrong_is_said_in_one_line(address, fault):
    with pytest.raises((OSError, EmbedshiftError)) as caught:
        read(f"{address}/{fault}/a.png")
    assert cause(caught.value).startswith(FAULTS[fault])


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_says(address, monkeypatch, status):
    waits = []
    monkeypatch.setattr(web.time, "sleep", waits.append)
    assert read(f"{address}/limited/{status}/7/a.png") == PICTURE
    assert waits == [7, 7]


@pytest.mark.parametrize("status_and_seconds", ["429/3600", "429/soon", "429/-1", "500/1"])
def test_no_other_answer_is_waited_for(address, monkeypatch, status_and_seconds):
    monkeypatch.setattr(web.time, "sleep", lambda seconds: pytest.fail(f"it waits {seconds} s"))
    with pytest.raises(OSError, match=f"its server answers {status_and_seconds[:3]} "):
        read(f"{address}/limited/{status_and_seconds}/a.png")


def test_no_server_can_be_reached_is_one_line():
    with pytest.raises(OSError, match=r"its server cannot be reached \(\[Errno 111\] Connection refused\)"):
        read("http://127.0.0.1:1/a.png")


def test_one_bad_address_of_a_list_stops_no_other(address, tmp_path):
    (tmp_path / "list.txt").write_text("".join(f"{address}/{kind}/a.png\n" for kind in ("busy", "good", "moved")))
    source = open_source([str(tmp_path / "list.txt")])
    assert [sample.image_id for sample in source.samples] == ["busy/a.png", "good/a.png", "moved/a.png"]
    assert [source.read(sample) for sample in source.samples[1:]] == [PICTURE, PICTURE]
    with pytest.raises(OSError, match="503"):
        source.read(source.samples[0])


def test_a_page_lists_only_what_lies_below_it(address):
    found = [sample.image_id for sample in open_source([f"{address}/pages/"]).samples]
    assert found == ["a.png", "b.png", "c.png", "sub/i.png"]


@pytest.mark.parametrize("bound", first_only(["_DEPTH", "_MOST", "LISTING"]))
def test_pages_without_end_are_refused(address, monkeypatch, bound):
    monkeypatch.setattr(web, bound, 3 if bound != "LISTING" else 0.0)
    with pytest.raises(UsageError, match=r"/deeper/: its pages do not end; give a list of addresses"):
        open_source([f"{address}/deeper/"])


def test_no_page_holds_up_the_search_for_links(address):
    assert len(open_source([f"{address}/slow_to_parse/"]).samples) == 1


def test_an_archive_is_read_part_by_part(address):
    source = open_source([f"{address}/tar/a.tar"])
    assert [source.read(sample) for sample in source.samples] == [picture(number) for number in range(3)]


def test_an_archive_without_end_is_refused(address, monkeypatch):
    monkeypatch.setattr(tar, "FAR_MEMBERS", 1_000)
    with pytest.raises(UsageError, match=r"/members/a.tar: more than 1,000 members behind a URL; pack them into"):
        open_source([f"{address}/members/a.tar"])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [("whole", "gives no parts of files"), ("shifted", "gave another part"), ("later", "gave another part")],
)
def test_another_part_is_never_taken_for_the_image(address, monkeypatch, wrong, words):
    source = open_source([f"{address}/tar/a.tar"])
    monkeypatch.setattr(Hostile, "wrong", wrong)
    for sample in source.samples[1:]:
        with pytest.raises(EmbedshiftError, match=words):
            source.read(sample)


@pytest.mark.parametrize("name", first_only(["a.tar", "a.parquet"]))
def test_an_archive_that_cannot_be_read_in_parts_is_one_line(address, name):
    with pytest.raises(UsageError, match=rf"{name}: its server gives no parts of files: download it first$"):
        open_source([f"{address}/no_parts/{name}"])


def test_a_password_is_that_of_the_host_in_netrc(address, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    read(f"{address}/good/a.png")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\ndefault login all password other\n")
    (tmp_path / ".netrc").chmod(0o600)
    read(f"{address}/good/a.png")
    read(f"{address.replace('127.0.0.1', 'localhost')}/good/a.png")
    read(f"{address}/moved_away/a.png")
    assert Hostile.passwords == [None, "Basic bWU6c2VjcmV0", None, "Basic bWU6c2VjcmV0", None]
