"""The page's server: this machine alone reaches it, and its headers let a browser load nothing from elsewhere."""

import contextlib
import logging
import os
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

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
Application = Callable[[Message, Any, Send], Awaitable[None]]


class Guard:
    """Answers this machine's own page alone, and sends `POLICY` with every answer."""

    def __init__(self, app: Application) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Any, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        headers = dict(scope["headers"])
        hosts = {f"{name}:{scope['server'][1]}".encode() for name in (HOST, "localhost")}
        origin = headers.get(b"origin", b"").removeprefix(b"http://")
        if headers.get(b"host") not in hosts or (origin and origin not in hosts):
            if scope["type"] == "http":
                await send({"type": "http.response.start", "status": 403, "headers": []})
                await send({"type": "http.response.body", "body": b"only this machine's own page is answered"})
            else:
                await send({"type": "websocket.close"})
            return None

        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                policy_headers = (b"content-security-policy", POLICY.encode()), (b"referrer-policy", b"no-referrer")
                message["headers"] = [*message.get("headers", ()), *policy_headers]
            await send(message)

        return await self.app(scope, receive, with_policy)


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
