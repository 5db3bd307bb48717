"""The browser of the tests: headless Chromium, which asks nobody for anything."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Error, Page, sync_playwright

from support import LEFT_OUT

FLAGS = (
    "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync "
    "--no-first-run --disable-quic"
)
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@contextmanager
def launched() -> Iterator[Browser]:
    """The browser of this machine, else the one that Playwright downloaded; Playwright's error where there is none."""
    names = (os.environ.get("CHROMIUM"), *NAMES)
    path = next((path for name in names if name and (path := shutil.which(name))), None)
    # With a home of its own, since that of the user may be read-only.
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as home:
        environment: dict[str, str | float | bool] = {**os.environ, "HOME": home}
        instance = driver.chromium.launch(executable_path=path, args=FLAGS.split(), env=environment)
        yield instance
        instance.close()


@contextmanager
def started() -> Iterator[Browser]:
    """A browser; where there is none its tests are left out, and fail in CI."""
    with ExitStack() as stack:
        try:
            instance = stack.enter_context(launched())
        except Error:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(LEFT_OUT)
        yield instance


@contextmanager
def watching(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages and watches them: nothing may go wrong on any, and nothing be asked of another place."""
    seen: list[object] = []
    contexts: list[BrowserContext] = []

    def dismiss(dialog: Dialog) -> None:
        seen.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def opened(
        address: str, inside: str = "", width: int = 1280, scheme: Any = "light", *, silent: bool = False, **more: Any
    ) -> Page:
        """A page; `inside` begins all that it may ask for, and `silent` is one that writes nothing to the console."""

        def listen(said: ConsoleMessage) -> None:
            if silent or said.type == "error":
                seen.append(f"console: {said.text}")

        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **more)
        contexts.append(context)
        page = context.new_page()
        allowed = (inside or address, "data:", "blob:")
        page.on("console", listen)
        page.on("pageerror", lambda error: seen.append(f"error: {error}"))
        page.on("dialog", dismiss)
        page.on("request", lambda request: None if request.url.startswith(allowed) else seen.append(request.url))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert seen == []


def until(page: Page, expression: str, argument: object = None) -> None:
    """Waits for a JavaScript expression; the report's policy forbids the `eval` that Playwright's own waiting needs."""
    for _ in range(200):
        if page.evaluate(expression, argument):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"never true: {expression}")


def problems(page: Page, width: int, context: Any = None, **options: Any) -> list[object]:
    """Whether a page is too wide for its window, and what axe finds that not everyone can use; images must be whole."""
    page.evaluate("document.querySelectorAll('img').forEach((image) => { image.loading = 'eager'; })")
    until(page, "[...document.images].every((image) => !image.src || (image.complete && image.naturalWidth > 0))")
    wide = page.evaluate("document.documentElement.scrollWidth")
    found = Axe().run(page, context, {"resultTypes": ["violations"], **options}).response["violations"]
    named = [(one["id"], [node["target"] for node in one["nodes"]][:3]) for one in found]
    return [*([f"{wide} pixels wide"] if wide > width else []), *named]
