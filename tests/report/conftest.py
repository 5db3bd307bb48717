"""A report of a study that has everything in it, and a browser to look at it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from embedshift.study import Study
from support import studies


@pytest.fixture(scope="session")
def study() -> Study:
    return studies.nasty()


@pytest.fixture(scope="session")
def html(study: Study) -> str:
    return (study.folder / "report.html").read_text()


@pytest.fixture(scope="session")
def screenshots() -> Path:
    folder = Path(__file__).parents[2] / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def visit(browser: Browser, study: Study) -> Iterator[Callable[..., Page]]:
    """Opens the report and watches it: console, errors, requests, dialogs; all must stay silent."""
    seen: list[str] = []
    contexts: list[BrowserContext] = []

    def opened(width: int = 1600, scheme: str = "light", *, folded: bool = False, **settings: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **settings)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: seen.append(f"console {message.type}: {message.text}"))
        page.on("pageerror", lambda error: seen.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (seen.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: request.url.startswith(inside) or seen.append(request.url))
        page.goto(address)
        if not folded:
            page.evaluate("document.querySelectorAll('.fold').forEach((fold) => { fold.open = true; })")
            page.wait_for_selector("#tree .main-svg")
        page.wait_for_selector("img[data-packed]", state="detached")
        return page

    address = (study.folder / "report.html").as_uri()
    inside = ("data:", "blob:", address)
    yield opened
    for context in contexts:
        context.close()
    assert seen == []
