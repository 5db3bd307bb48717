"""The page's server: this machine alone reaches it, and its headers let a browser load nothing from elsewhere."""

import contextlib
import logging
import os
import socket
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

from embedshift.config import BUNDLED
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.store.reader import Reader

HOST, FIRST_PORT, PORTS = "127.0.0.1", 7860, 100
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

    def __init__(self, app: Application, port: int) -> None:
        self.app = app
        self.hosts = {f"{name}:{port}".encode() for name in (HOST, "localhost")}

    async def __call__(self, scope: Message, receive: Any, send: Send) -> None:
        """One request."""
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"").removeprefix(b"http://")
        if headers.get(b"host") not in self.hosts or (origin and origin not in self.hosts):
            if scope["type"] == "http":
                await send({"type": "http.response.start", "status": 403, "headers": []})
                await send({"type": "http.response.body", "body": b"only this machine's own page is answered"})
            else:
                await send({"type": "websocket.close"})
            return None

        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                more = (b"content-security-policy", POLICY.encode()), (b"referrer-policy", b"no-referrer")
                message["headers"] = [*message.get("headers", ()), *more]
            await send(message)

        return await self.app(scope, receive, with_policy)


def take_port(port: int | None) -> socket.socket:
    """A socket that nobody else has, of the port or of the first that is free from 7860 on."""
    for number in (port,) if port is not None else range(FIRST_PORT, FIRST_PORT + PORTS):
        taken = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # else the port of a page that just ended is taken
        try:
            taken.bind((HOST, number))
            taken.listen(128)
            return taken
        except OSError as error:
            taken.close()
            if port is not None:
                raise UsageError(f"`port`: {port} cannot be used ({error.strerror}): give another") from error
    raise UsageError(f"`port`: none is free from {FIRST_PORT} to {FIRST_PORT + PORTS - 1}: give another")


@contextlib.contextmanager
def serving(make_page: Callable[[], Any], taken: socket.socket) -> Iterator[tuple[str, threading.Thread]]:
    """While entered, the page is served; its address, and the thread that serves it."""
    port = taken.getsockname()[1]
    before = os.environ.get("GRADIO_TEMP_DIR")
    with tempfile.TemporaryDirectory(prefix="embedshift-app-", ignore_cleanup_errors=True) as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        try:
            server, thread = _started(make_page(), taken, port)
            try:
                yield f"http://{HOST}:{port}/", thread
            finally:
                logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # it would list what it cuts short
                server.should_exit = server.force_exit = True
                thread.join(1.0)  # an answer under way is not waited for
        finally:
            taken.close()
            if before is None:
                os.environ.pop("GRADIO_TEMP_DIR", None)
            else:
                os.environ["GRADIO_TEMP_DIR"] = before


def _started(page: Any, taken: socket.socket, port: int) -> tuple[Any, threading.Thread]:
    """The server, in a thread of its own: so signals stay with the command."""
    import uvicorn

    from embedshift.app.page import make_app

    guarded: Any = Guard(make_app(page, (HOST, port)), port)
    server = uvicorn.Server(uvicorn.Config(guarded, log_config=None, access_log=False, lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]}, daemon=True)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise EmbedshiftError("the page cannot be served: its server did not start")
        time.sleep(0.02)
    return server, thread


def page_of(reader: Reader | None, photos: Callable[[Path], Path], model: str | None, device: str) -> Callable[[], Any]:
    """Loads the encoder and gives what makes the page."""
    from embedshift.app.page import make_page
    from embedshift.app.start import by_photos, try_study

    if reader is not None:
        found = try_study(reader, model, device)
        return lambda: make_page(found, reader)
    with tempfile.TemporaryDirectory() as folder:
        files = sorted(photos(Path(folder) / "photos").iterdir())
        bench = by_photos(files, model or BUNDLED, device)
    return lambda: make_page(bench, None)
