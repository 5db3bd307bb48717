"""The server of the page: this machine's own page alone is answered, and nothing is left of an upload."""

import contextlib
import os
import socket
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from embedshift import app
from embedshift.app.server import POLICY, Guard, serving
from support.network import no_network

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def answered(headers, kind="http"):
    """Messages that the guard sends, and whether it asked the application."""
    asked, sent = [], []

    async def application(scope, receive, send):
        asked.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})

    async def send(message):
        sent.append(message)

    with contextlib.suppress(StopIteration):  # nothing of it waits; Playwright's loop runs in this thread already
        scope = {"type": kind, "headers": headers, "server": ("127.0.0.1", 7860)}
        Guard(application)(scope, None, send).send(None)
    return bool(asked), sent


OWN = (b"host", b"127.0.0.1:7860")
OF_OTHERS = [[], [(b"host", b"evil.example:7860")], [(b"host", b"127.0.0.1:1")]]
OF_OTHERS += [[OWN, (b"origin", origin)] for origin in (b"http://evil.example", b"null", b"http://127.0.0.1:1")]


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_only_its_own_page_is_answered_with_the_policy(kind):
    for headers in OF_OTHERS:
        asked, sent = answered(headers, kind)
        assert not asked
        assert sent[0].get("status", 403) == 403
    for headers in ([OWN], [OWN, (b"origin", b"http://127.0.0.1:7860")], [(b"host", b"localhost:7860")]):
        asked, sent = answered(headers, kind)
        assert asked
        assert {(b"content-security-policy", POLICY.encode()), (b"a", b"b")} <= {*sent[0]["headers"]}


def listening():
    """The ports at which this process listens: another's may have the same number right after."""
    ports = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(name))) as one:
            if one.family == socket.AF_INET and one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                ports.add(one.getsockname()[1])
    return ports


@pytest.mark.slow
def test_a_page_is_served_and_its_folder_is_gone_afterwards(page_module, of_photos):
    before = os.environ.get("GRADIO_TEMP_DIR")
    with no_network(loopback=True) as tried, serving(lambda: page_module.make_page([of_photos])) as (address, thread):
        folder = Path(os.environ["GRADIO_TEMP_DIR"])
        assert folder.is_dir()
        (folder / "upload").mkdir()
        (folder / "upload" / "image.png").write_bytes(b"left")
        assert thread.is_alive()
        assert urlsplit(address).port in listening()
    assert tried == []
    assert not folder.exists()
    assert os.environ.get("GRADIO_TEMP_DIR") == before
    thread.join(10)
    assert not thread.is_alive()
    assert urlsplit(address).port not in listening()


@pytest.mark.slow
def test_a_proxy_of_this_user_is_not_asked(page_module, of_photos, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:1")
    monkeypatch.setenv("no_proxy", "example.org")
    with serving(lambda: page_module.make_page([of_photos])) as (address, _), OPENER.open(address, timeout=20) as page:
        assert page.status == 200
        assert os.environ["no_proxy"] == "example.org,127.0.0.1"
    assert os.environ["no_proxy"] == "example.org"


@pytest.mark.slow
def test_neither_others_nor_files_of_this_machine_are_served(served):
    with OPENER.open(served, timeout=20) as page:
        assert b"gradio" in page.read()
        assert page.headers["content-security-policy"] == POLICY
    refused = [(path, {header: value}) for path in ("", "config", "gradio_api/queue/data?session_hash=a")
               for header, value in (("Host", "evil.example"), ("Origin", "http://evil.example"))]  # fmt: skip
    files = ("/etc/passwd", str(Path(__file__)), "C:/x")
    refused += [(f"gradio_api/file={urllib.parse.quote(path)}", {}) for path in files]
    for path, headers in refused:
        with pytest.raises(urllib.error.HTTPError) as error:
            OPENER.open(urllib.request.Request(f"{served}{path}", headers=headers), timeout=20)
        assert error.value.code in ((403,) if headers else (403, 404)), path


def test_gradio_writes_no_file_beside_the_page():
    assert {path.suffix for path in Path(app.__file__).parent.iterdir()} - {""} == {".py"}
