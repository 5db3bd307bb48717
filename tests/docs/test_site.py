"""The site: it is built strictly, fits, can be read and searched, asks nothing of the network, and is complete."""

import os
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

import embedshift
from embedshift.augmentations.family import FAMILIES
from embedshift.augmentations.variant import PURIFIERS
from embedshift.cli import commands
from embedshift.registry import METRICS, questions
from support.chromium import problems
from support.pages import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.matrix]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return out


@pytest.fixture(scope="module")
def served(site):
    handler = partial(type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None}), directory=site)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (380, "dark")])
def test_pages_fit_and_everyone_can_read_them(served, open_page, width, scheme):
    folder = ROOT / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("index", "relative-shift", "reference/python"):
        page = open_page(f"{served}/{name}.html", served, width, scheme)
        found = problems(page, width, ".md-content", runOnly=["color-contrast"])  # the rest is the theme's
        assert found == [], name
        page.screenshot(path=folder / f"site-{name.replace('/', '-')}-{width}-{scheme}.png")


def test_every_page_asks_nothing_of_the_network_and_the_theme_is_chosen_by_a_button(site, served, open_page):
    pages = sorted(path.relative_to(site) for path in site.rglob("*.html"))
    assert len(pages) > 30
    page = open_page(f"{served}/index.html", served)
    page.locator("label[title='Dark theme']").click()
    for path in pages:
        page.goto(f"{served}/{path}")
        assert page.locator("body").get_attribute("data-md-color-scheme") == "slate", "it is remembered"
        assert path.name == "404.html" or page.locator("article h1").count() == 1, path
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280, path


@pytest.mark.parametrize("from_files", [False, True])
def test_the_search_finds_a_page(site, served, open_page, from_files):
    inside = site.as_uri() if from_files else served
    page = open_page(f"{inside}/index.html", inside)
    page.locator("input[name=query]").click()
    page.locator("input[name=query]").press_sequentially("tolerance")
    link = page.locator(".md-search-result__link[href*='tolerance.html']").first
    link.wait_for()
    assert link.is_visible()


def test_what_the_package_declares_is_in_the_reference(site):
    line = (site / "reference/command-line.html").read_text()
    for name, command in commands().items():
        assert f">embedshift {name}<" in line
        for option in (each for each in command.params if each.param_type_name == "option" and not each.hidden):
            assert f"<code>{option.opts[0]}</code>" in line
    changes = "".join((site / f"{name}.html").read_text() for name in ("tolerance", "augmentations", "attack"))
    tables = (site / "reference/tables.html").read_text()
    for text, names in ((tables, [*METRICS, *(each.name for each in questions())]), (changes, [*FAMILIES, *PURIFIERS])):
        assert [name for name in names if f"<code>{name}</code>" not in text] == []
    python = (site / "reference/python.html").read_text()
    assert [name for name in embedshift.__all__ if name not in python] == []
    assert "openai/clip-vit-base-patch32" in python, "defaults stand as values"
    words = (site / "glossary.html").read_text()
    assert all(f"<strong>{term}</strong>" in words for term in ("relative shift", "false-match rate", "head", "study"))
