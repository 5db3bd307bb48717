"""A report of a study that has everything in it, and a browser to look at it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

from embedshift.study import Study
from support import studies


@pytest.fixture(scope="session")
def study() -> Study:
    return studies.nasty()


@pytest.fixture(scope="session")
def html(study: Study) -> str:
    return (study.folder / "report.html").read_text()


@pytest.fixture
def visit(open_page: Callable[..., Page], study: Study) -> Callable[..., Page]:
    """Opens the report of a study, whose sections are folded or all open, with its charts drawn."""

    def opened(width: int = 1280, scheme: str = "light", *, of: Study = study, folded: bool = False) -> Page:
        page = open_page((of.folder / "report.html").as_uri(), width=width, scheme=scheme, silent=True)
        if not folded:
            page.evaluate("document.querySelectorAll('.fold').forEach((fold) => { fold.open = true; })")
            page.wait_for_selector(".plot:not(:has(.main-svg))", state="detached")
        page.wait_for_selector("img[data-packed]", state="detached")
        return page

    return opened


@pytest.fixture(scope="session")
def screenshots() -> Path:
    folder = Path(__file__).parents[2] / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
