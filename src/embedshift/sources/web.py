"""Images behind addresses: http by httpx2, which reads no more than was asked for; others by fsspec."""

import contextlib
import errno
import functools
import html
import netrc
import os
import posixpath
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from http import HTTPStatus
from typing import IO, TYPE_CHECKING, Any, TypeVar
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractBufferedFile

from embedshift.config.safe_files import read_file, refuse_larger
from embedshift.errors import EmbedshiftError, UsageError, cause
from embedshift.sources.base import ENDINGS, IMAGE_BYTES, ImageRef, Source, count_ending

if TYPE_CHECKING:  # where no address is named, a tenth of a second is saved
    import httpx2

# Seconds for the first answer about an address and for the next bytes of a body, for a whole body, for all pages.
ANSWER, BODY, LISTING = 30.0, 300.0, 600.0
# Bytes of a page that is searched for links; files and folders below an address, and folders in each other.
_PAGE, _MOST, _DEPTH = 2**24, 10**6, 32
_REDIRECTS = 10
# Waits for a busy server, and the longest that it may ask for, in seconds.
_WAITS, _PATIENCE = 3, 10.0
_BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_HTTP = ("http", "https")
_LINK = re.compile(rb"""\bhref\s*=\s*["']([^"']+)""", re.IGNORECASE)
_FOLDER = re.compile(r"[/\\]")
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")

T = TypeVar("T")


def file_system(url: str) -> tuple[Any, str]:
    return (Web(), url) if _split(url).scheme in _HTTP else fsspec.url_to_fs(url)


def is_image_address(url: str) -> bool:
    """Returns whether an address is that of an image by its ending, so that no server has to be asked."""
    parts = _split(url)
    return parts.scheme in _HTTP and os.path.splitext(parts.path)[1].lower() in ENDINGS


def answered(ask: Callable[[], T]) -> T:
    """Returns what a first question to a server gives; TimeoutError if there is no answer in time."""
    future: Future[T] = Future()

    def answer() -> None:
        try:
            future.set_result(ask())
        except Exception as error:
            future.set_exception(error)

    # Libraries wait for minutes, each in its own way; a thread that waits on holds up nothing.
    threading.Thread(target=answer, daemon=True).start()
    if not wait([future], ANSWER).done:
        raise _no_answer()
    return future.result()


def _no_answer() -> OSError:
    return OSError(errno.ETIMEDOUT, f"its server did not answer in {ANSWER:g} s; check the address, or try later")


class Web:
    """What is used of a file system, for http and https; a page is a folder of what it links to below itself."""

    def isfile(self, url: str) -> bool:
        try:
            _ask(url).close()
        except FileNotFoundError:
            return False
        return not url.endswith("/")

    def isdir(self, url: str) -> bool:
        return any(_links(url))

    def ls(self, url: str, detail: bool = False) -> list[str]:
        return sorted({*_links(url)})

    def find(self, url: str) -> list[str]:
        """Returns the files below a page; EmbedshiftError for pages without end."""
        files, folders, ended = list[str](), [url], time.monotonic() + LISTING
        for folder in folders:  # grows
            with contextlib.suppress(FileNotFoundError):  # a link to nothing
                for link in self.ls(folder):
                    (folders if link.endswith("/") else files).append(link)
            deep = folders[-1].count("/") - url.count("/") > _DEPTH
            if deep or len(folders) + len(files) > _MOST or time.monotonic() > ended:
                raise EmbedshiftError("its pages do not end; give a list of addresses (.txt) instead")
        return files

    def cat_file(self, url: str, start: int | None = None, end: int = IMAGE_BYTES) -> bytes:
        """Returns the bytes from `start` to `end`; without a start, at most `end` bytes of the whole."""
        if start is not None:
            return _part(url, start, end)[0]
        with contextlib.closing(_ask(url)) as answer:
            return _body(answer, end)

    def open(self, url: str, mode: str = "rb") -> IO[bytes]:
        opened: IO[bytes] = AbstractBufferedFile(self, url, mode, block_size=2**20, size=_part(url, 0, 1)[1])
        return opened


def fetch(url: str) -> bytes:
    """Returns the bytes of the image behind an address."""
    files, path = file_system(url)
    if isinstance(files, LocalFileSystem):
        return read_file(path, IMAGE_BYTES)
    data: bytes = files.cat_file(path, end=IMAGE_BYTES + 1)
    refuse_larger(len(data), IMAGE_BYTES)
    return data


def _part(url: str, start: int, end: int) -> tuple[bytes, int]:
    """Returns the bytes of a file from `start` to `end`, and the size of the file; at least one byte is asked for."""
    refuse_larger(end - start, IMAGE_BYTES)
    with contextlib.closing(_ask(url, {"Range": f"bytes={start}-{end - 1}"})) as answer:
        if answer.status_code != HTTPStatus.PARTIAL_CONTENT:
            raise EmbedshiftError("its server gives no parts of files: download it first")
        given = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        first, last, size = map(int, given.groups()) if given else (-1, -1, -1)
        data = _body(answer, end - start)
    if first != start or last + 1 != min(end, size) or len(data) != last + 1 - first:
        raise EmbedshiftError("its server gave another part of the file than it was asked for: download it first")
    return data, size


def _body(answer: "httpx2.Response", most: int) -> bytes:
    import httpx2

    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise EmbedshiftError("its server packs it, although it was asked for the file as it is: download it first")
    data, ended = bytearray(), time.monotonic() + BODY
    try:
        for part in answer.iter_raw():
            data += part
            if len(data) >= most:
                break
            if time.monotonic() > ended:
                raise OSError(errno.EIO, f"its server took longer than {BODY:g} s to send it; try later")
    except httpx2.TimeoutException as error:
        raise OSError(errno.ETIMEDOUT, f"its server sent nothing for {ANSWER:g} s; try later") from error
    except httpx2.HTTPError as error:
        raise OSError(errno.EIO, "its server stopped before the end; try later") from error
    return bytes(memoryview(data)[:most])


@functools.cache
def _client() -> "httpx2.Client":
    import httpx2

    # No connection is kept: loaders are forks, and would share it.
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx2.Client(headers={"User-Agent": "embedshift", "Accept-Encoding": "identity"}, limits=limits)


def _ask(url: str, headers: dict[str, str] | None = None) -> "httpx2.Response":
    """Returns the answer to GET, whose body is not read yet; OSError without one, FileNotFoundError for 404."""
    import httpx2

    try:
        request = _client().build_request("GET", url, headers=headers, timeout=ANSWER)
        for _ in range(_REDIRECTS):
            if request.url.scheme not in _HTTP:
                kind = request.url.scheme[:20] or "none"
                raise EmbedshiftError(f"its server leads to another kind of address ({kind}); refused")
            answer = _answer(request)
            if answer.is_success:
                return answer
            answer.close()
            if answer.next_request is None:
                # Words of our own: those of a server may be anything.
                words = httpx2.codes.get_reason_phrase(answer.status_code).lower() or "unknown"
                number = errno.ENOENT if answer.status_code == HTTPStatus.NOT_FOUND else errno.EIO
                raise OSError(number, f"its server answers {answer.status_code} ({words})")
            request = answer.next_request
    except httpx2.TimeoutException as error:
        raise _no_answer() from error
    except (httpx2.NetworkError, httpx2.ProxyError) as error:
        raise OSError(errno.EIO, f"its server cannot be reached ({str(error)[:200]})") from error
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        raise OSError(errno.EIO, f"its server gives no answer of http ({type(error).__name__})") from error
    raise OSError(errno.ELOOP, f"its server redirects more than {_REDIRECTS} times")


def _answer(request: "httpx2.Request") -> "httpx2.Response":
    """Returns the answer to a request; a server that is busy and says for how long is asked again."""
    auth = _password(request.url.host)
    for waits in range(_WAITS + 1):
        answer = answered(lambda: _client().send(request, stream=True, auth=auth))
        seconds = answer.headers.get("Retry-After", "")
        waits_again = answer.status_code in _BUSY and seconds.isdecimal() and float(seconds) <= _PATIENCE
        if waits == _WAITS or not waits_again:
            break
        answer.close()
        time.sleep(float(seconds))
    return answer


def _password(host: str) -> tuple[str, str] | None:
    """Returns the user and password of exactly this host; `default` in ~/.netrc, which httpx2 takes, is for no host."""
    try:
        user, _, password = netrc.netrc().hosts[host]
    except (OSError, KeyError, netrc.NetrcParseError):
        return None
    return user, password


def _links(url: str) -> Iterator[str]:
    with contextlib.closing(_ask(url)) as answer:
        kind = answer.headers.get("Content-Type", "text/html").partition(";")[0]
        page = _body(answer, _PAGE + 1) if kind == "text/html" else b""
    refuse_larger(len(page), _PAGE)
    base = url.rstrip("/") + "/"
    for link in _LINK.finditer(page):
        with contextlib.suppress(ValueError):  # it is no address
            address = urljoin(base, html.unescape(link[1].decode("utf-8", "replace")).strip()).partition("#")[0]
            if address.startswith(base) and address != base and ".." not in _FOLDER.split(unquote(address)):
                yield address


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise EmbedshiftError("it is no address") from error


class UrlSource(Source):
    """The images below URLs; an `image_id` is the path below the given URL, or below the common parent of several."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.skipped: Counter[str] = Counter()
        self.description = {"kind": "url", "paths": list(urls)}
        schemes = sorted({url.split("://")[0].lower().replace("https", "http") for url in urls})
        if len(schemes) > 1:
            raise UsageError(f"addresses of several kinds ({', '.join(schemes)}); use one kind per study")
        found = [(url, *_find(url)) for url in urls]
        images = {path for url, folder, paths in found for path in paths if path == url or self._is_image(path, folder)}
        root = posixpath.commonpath([folder for _, folder, _ in found]) if found else ""
        scheme = urls[0].split("://")[0] if urls else ""
        self.samples = [
            ImageRef(posixpath.relpath(path, root), path if "://" in path else f"{scheme}://{path}")
            for path in sorted(images)
        ]

    def read(self, sample: ImageRef) -> bytes:
        return fetch(sample.location)

    def _is_image(self, path: str, folder: str) -> bool:
        below = path[len(folder) :]
        if any(part.startswith(".") for part in below.split("/")):
            return False
        if os.path.splitext(below)[1].lower() in ENDINGS:
            return True
        count_ending(self.skipped, below)
        return False


def _find(url: str) -> tuple[str, list[str]]:
    if is_image_address(url):
        return posixpath.dirname(url), [url]
    try:
        files, path = file_system(url)
        if answered(lambda: files.isfile(path)) and not files.isdir(path):
            return posixpath.dirname(path), [path]
        paths = list(files.find(path))
    except (EmbedshiftError, TimeoutError) as error:
        raise UsageError(f"{url}: {cause(error)}") from error
    except Exception as error:
        raise UsageError(f"{url}: cannot be listed ({cause(error)[:300]})") from error
    if not paths:
        raise UsageError(f"{url}: no such file or folder")
    return path.rstrip("/"), paths
