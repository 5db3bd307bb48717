"""The page's server, reachable only from this machine; its headers let a browser load nothing from elsewhere."""

import contextlib
import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embedshift.errors import UsageError
from embedshift.sources.base import IMAGE_BYTES

HOST = "127.0.0.1"
# Content security policy; Gradio itself makes functions of text.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'self'; "
    "form-action 'self'"
)
# Paths that a browser posts to, and the maximum bytes of an event.
UPLOAD, POSTS = "/gradio_api/upload", [f"/gradio_api/{name}" for name in ("queue/join", "upload", "reset", "cancel")]
EVENT_BYTES = 2**20
# Gradio cuts captions to one line, and galleries to some rows.
CSS = """
.gallery-container .caption-label, .grid-container .caption-label { white-space: normal; max-width: 100%; }
.grid-wrap { max-height: none !important; }
@media (max-width: 500px) { #pictures .grid-container { grid-template-columns: 1fr !important; } }
.error { font-weight: 600; }
#answer { overflow-x: auto; }
"""
# Gradio would send two close steps in parallel; this sends one after the other.
IN_ORDER = """<script>
const send = window.fetch;
let before = Promise.resolve();
window.fetch = (url, options) => !/queue.join/.test(url) ? send(url, options)
  : (before = before.catch(() => null).then(() => send(url, options)));
</script>"""


class Guard:
    """Refuses requests from other hosts, other origins or unknown paths; adds the content security policy."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        headers, path = dict(scope["headers"]), scope.get("path", "").rstrip("/")
        hosts = {f"{name}:{scope['server'][1]}".encode() for name in (HOST, "localhost")}
        origin, refused = headers.get(b"origin", b"").removeprefix(b"http://"), ""
        if headers.get(b"host") not in hosts or (origin and origin not in hosts):
            refused = "only this machine's own page is answered"
        elif scope.get("method") not in (None, "GET", "HEAD"):
            if scope["method"] != "POST" or path not in POSTS:
                refused = "the page has no such request"
            elif path != UPLOAD and not 0 < int(headers.get(b"content-length", 0)) <= EVENT_BYTES:
                refused = "the page has no such event"
        if refused:
            return await PlainTextResponse(refused, 403)(scope, receive, send)

        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", POLICY.encode()), (b"referrer-policy", b"no-referrer")
                message["headers"] = [*message.get("headers", ()), *policy]
            await send(message)

        try:
            await self.app(scope, receive, with_policy)
        except Exception:  # which would be printed
            if path not in POSTS:
                raise
            await PlainTextResponse("the page has no such event", 400)(scope, receive, send)


@contextlib.contextmanager
def serving(make_page: Callable[[], Any], port: int | None = None) -> Iterator[tuple[str, threading.Thread]]:
    before = dict(os.environ)
    # Gradio checks that the page is available.
    no_proxy = ",".join(filter(None, [os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), HOST]))
    with tempfile.TemporaryDirectory(prefix="embedshift-app-", ignore_cleanup_errors=True) as folder:
        os.environ.update(GRADIO_TEMP_DIR=folder, NO_PROXY=no_proxy, no_proxy=no_proxy)
        try:
            page = make_page()
            try:
                page.launch(
                    server_name=HOST, server_port=port, prevent_thread_lock=True, quiet=True, share=False, css=CSS,
                    footer_links=[], run_history=False, ssr_mode=False, mcp_server=False, enable_monitoring=False,
                    num_workers=0, head=IN_ORDER, max_file_size=IMAGE_BYTES,
                    app_kwargs={"middleware": [Middleware(Guard)]},
                )  # fmt: skip
            except OSError as error:
                ports = "none is free from 7860 on" if port is None else f"{port} is already in use"
                raise UsageError(f"`port`: {ports}: give another") from error
            try:
                yield page.local_url, page.server.thread
            finally:
                logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # it would list unfinished answers
                page.server.force_exit = True  # running answers are not awaited
                page.close(verbose=False)
        finally:
            os.environ.clear()
            os.environ.update(before)
