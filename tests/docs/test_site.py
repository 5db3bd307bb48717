"""The site: it is built strictly, fits, is drawn in both themes, can be searched, and asks nothing of the network."""

import os
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from embedshift.augmentations.family import FAMILIES
from embedshift.augmentations.variant import PURIFIERS
from embedshift.registry import METRICS, questions

pytestmark = [pytest.mark.slow, pytest.mark.matrix]

ROOT = Path(__file__).parents[2]
SHOWN = ("index", "relative-shift", "reference/python", "check", "glossary")
# What a request says whose page is left before it ends.
LEFT = "ERR_ABORTED"
CONTRAST = """() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const linear = (value) => (value <= 10 ? value / 3294 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const colour = getComputedStyle(document.querySelector("article p"));
  const [a, b] = [light(rgb(colour.color)), light(rgb(getComputedStyle(document.body).backgroundColor))];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return out


@pytest.fixture(scope="module")
def served(site):
    handler = partial(type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None}), directory=site)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def visit(browser):
    """Opens a page and watches it: nothing may go wrong, and nothing be asked of another place."""
    seen, contexts = [], []

    def opened(address, inside, width=1280, scheme="light"):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: seen.append(f"error: {error}"))
        page.on("requestfailed", lambda asked: LEFT in str(asked.failure) or seen.append(f"failed: {asked.url}"))
        page.on("response", lambda answer: answer.status < 400 or seen.append(f"{answer.status}: {answer.url}"))
        page.on(
            "request", lambda request: request.url.startswith((inside, "data:", "blob:")) or seen.append(request.url)
        )
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert seen == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 380])
def test_pages_fit_and_are_readable(served, visit, width, scheme):
    folder = ROOT / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    for name in SHOWN:
        page = visit(f"{served}/{name}.html", served, width, scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert page.evaluate(CONTRAST) > 7, name
        assert page.evaluate("[...document.images].filter((each) => each.naturalWidth === 0).length") == 0, name
        page.screenshot(path=folder / f"site-{name.replace('/', '-')}-{width}-{scheme}.png")


def test_every_page_asks_nothing_of_the_network(site, served, visit):
    pages = sorted(path.relative_to(site) for path in site.rglob("*.html"))
    assert len(pages) > 30
    page = visit(f"{served}/index.html", served)
    for path in pages:
        page.goto(f"{served}/{path}")
        if path.name != "404.html":
            assert page.locator("article h1").count() == 1, path
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280, path


@pytest.mark.parametrize("from_files", [False, True])
def test_the_search_finds_a_page(site, served, visit, from_files):
    inside = site.as_uri() if from_files else served
    page = visit(f"{inside}/index.html", inside)
    page.locator("input[name=query]").click()
    page.locator("input[name=query]").press_sequentially("tolerance")
    page.locator(".md-search-result__link").first.wait_for()
    assert any(
        "tolerance.html" in str(each.get_attribute("href")) for each in page.locator(".md-search-result__link").all()
    )


def test_the_theme_is_chosen_by_a_button(served, visit):
    page = visit(f"{served}/index.html", served)
    assert page.locator("body").get_attribute("data-md-color-scheme") == "default"
    page.locator("label[title='Dark theme']").click()
    assert page.locator("body").get_attribute("data-md-color-scheme") == "slate"


def test_what_the_package_declares_is_in_the_reference(site):
    import typer

    from embedshift.cli import app

    line = (site / "reference/command-line.html").read_text()
    for name, command in typer.main.get_command(app).commands.items():
        assert f">embedshift {name}<" in line
        for option in (each for each in command.params if each.param_type_name == "option" and not each.hidden):
            assert f"<code>{option.opts[0]}</code>" in line
    tables = (site / "reference/tables.html").read_text()
    assert all(f"<code>{name}</code>" in tables for name in METRICS)
    assert all(f"<code>{each.name}</code>" in tables for each in questions())
    import embedshift

    python = (site / "reference/python.html").read_text()
    public = [f"embedshift.{name}" for name in embedshift.__all__ if name != "EmbedshiftError"]
    assert [name for name in public if name not in python] == []
    assert "EmbedshiftError" in python
    assert "openai/clip-vit-base-patch32" in python, "defaults stand as values"
    changes = "".join((site / f"{name}.html").read_text() for name in ("tolerance", "augmentations", "attack"))
    assert all(f"<code>{name}</code>" in changes for name in (*FAMILIES, *PURIFIERS))
    words = (site / "glossary.html").read_text()
    assert all(f"<strong>{term}</strong>" in words for term in ("relative shift", "false-match rate", "head", "study"))
