"""The page's server: this machine alone reaches it, and its headers let a browser load nothing from elsewhere."""

import contextlib
import logging
import os
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

from embedshift.app.events import EVENT_BYTES, JOIN, POSTS, Fields, delete_uploads, problem
from embedshift.config import BUNDLED
from embedshift.errors import UsageError
from embedshift.store.reader import Reader

HOST = "127.0.0.1"
# What a browser may load, whatever the page says: Gradio itself makes functions of text.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'self'; "
    "form-action 'self'"
)
Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
Application = Callable[[Message, Any, Send], Awaitable[None]]


class Guard:
    """Answers this machine's own page and its events alone, and sends `POLICY` with each answer."""

    def __init__(self, app: Application, fields: Fields | None = None) -> None:
        self.app, self.fields = app, fields or {}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        headers = dict(scope["headers"])
        hosts = {f"{name}:{scope['server'][1]}".encode() for name in (HOST, "localhost")}
        origin = headers.get(b"origin", b"").removeprefix(b"http://")
        if headers.get(b"host") not in hosts or (origin and origin not in hosts):
            if scope["type"] == "http":
                return await _refuse(send, 403, "only this machine's own page is answered")
            return await send({"type": "websocket.close"})
        if scope.get("method") not in (None, "GET", "HEAD"):
            path = scope["path"].rstrip("/")
            if scope["method"] != "POST" or path not in POSTS:
                return await _refuse(send, 403, "the page has no such request")
            if path == JOIN:
                body = await _body(receive)
                if words := problem(body, self.fields) if len(body) <= EVENT_BYTES else "too long":
                    delete_uploads(body)
                    return await _refuse(send, 400, f"the page has no such event: {words}")
                receive = _again(body, receive)

        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                policy_headers = (b"content-security-policy", POLICY.encode()), (b"referrer-policy", b"no-referrer")
                message["headers"] = [*message.get("headers", ()), *policy_headers]
            await send(message)

        return await self.app(scope, receive, with_policy)


async def _refuse(send: Send, status: int, words: str) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": words.encode()})


async def _body(receive: Receive) -> bytes:
    """Returns the bytes of a request, or of one that is too long its beginning."""
    body, more = b"", True
    while more and len(body) <= EVENT_BYTES:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """Returns a `receive` that first gives a body that was read before."""
    first: list[Message] = [{"type": "http.request", "body": body}]

    async def received() -> Message:
        return first.pop() if first else await receive()

    return received


@contextlib.contextmanager
def serving(make_page: Callable[[], Any], port: int | None = None) -> Iterator[tuple[str, threading.Thread]]:
    """While entered, the page is served; its address, and the thread that serves it."""
    from embedshift.app.page import launch

    # Gradio asks the page whether it is there.
    no_proxy = ",".join(filter(None, [os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), HOST]))
    with (
        tempfile.TemporaryDirectory(prefix="embedshift-app-", ignore_cleanup_errors=True) as folder,
        _environment(GRADIO_TEMP_DIR=folder, NO_PROXY=no_proxy, no_proxy=no_proxy),
    ):
        page = make_page()
        try:
            launch(page, HOST, port, Guard)
        except OSError as error:
            ports = "none is free from 7860 on" if port is None else f"{port} is already in use"
            raise UsageError(f"`port`: {ports}: give another") from error
        try:
            yield page.local_url, page.server.thread
        finally:
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # it would list what it cuts short
            page.server.force_exit = True  # an answer under way is not waited for
            page.close(verbose=False)


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def load_page(reader: Reader | None, photos: Callable[[Path], Path], model: str | None, device: str) -> Any:
    from embedshift.app.page import make_page
    from embedshift.app.start import encoder_from_photos, try_encoder_from_study

    if reader is not None:
        return make_page(try_encoder_from_study(reader, model, device), reader)
    with tempfile.TemporaryDirectory() as folder:
        files = sorted(photos(Path(folder) / "photos").iterdir())
        return make_page(encoder_from_photos(files, model or BUNDLED, device), None)
