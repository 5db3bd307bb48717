"""Links of the pages: those inside resolve, to the heading; those outside are listed in one file."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.pages import FENCE, PAGES, ROOT, anchors, links

EXTERNAL = (Path(__file__).parent / "external_links.txt").read_text().splitlines()


def broken(page, target):
    """Why a link inside leads nowhere; "" for one that resolves."""
    path, _, anchor = target.partition("#")
    place = (page.parent / path).resolve() if path else page
    if not place.exists():
        return "no such file"
    if not place.is_relative_to(ROOT):
        return "outside the repository"
    return "" if not anchor or anchor in anchors(place.read_text()) else "no such heading"


def inside(page):
    return [target for target in links(page.read_text()) if "://" not in target]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_inside_resolve(page):
    assert {target: why for target in inside(page) if (why := broken(page, target))} == {}


def test_links_outside_are_those_of_the_list():
    found = {target for page in PAGES for target in links(page.read_text()) if "://" in target}
    assert sorted(found) == EXTERNAL, "tests/docs/external_links.txt lists every link to another site, sorted"


@pytest.mark.parametrize("link", EXTERNAL)
def test_a_link_outside_is_an_address(link):
    parts = urlsplit(link)
    assert parts.scheme == "https"
    assert "." in parts.netloc
    assert link.isascii()


def test_a_broken_link_would_be_seen(tmp_path):
    page = ROOT / "docs" / "index.md"
    assert broken(page, "relative-shift.md#the-interval") == ""
    assert broken(page, "relative_shifts.md") == "no such file"
    assert broken(page, "relative-shift.md#the-intervals") == "no such heading"
    assert broken(page, "#1-install") == ""
    assert broken(page, "../..") == "outside the repository"
    assert sum(len(inside(page)) for page in PAGES) > 100


def test_the_readme_is_two_screens():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 100
    assert len(text.split()) < 900
    assert [target for target in links(text) if target.endswith((".png", ".webp"))] == ["docs/images/report.png"]


def test_the_first_screen_of_the_readme_serves_who_installs_and_then_who_cloned():
    screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:30])
    steps = ["report.png", "pip install", "embedshift demo", "embedshift run", "make demo", "make test"]
    places = [screen.find(step) for step in steps]
    assert places[0] > -1
    assert places == sorted(places)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_evidence_stands_last(page):
    """A reader finds how to do a task before the studies that show how well it works."""
    heads = [line for line in FENCE.sub("", page.read_text()).splitlines() if line.startswith("## ")]
    assert "## How this was verified" not in heads[:-1]


def test_every_page_is_in_the_navigation():
    nav = (ROOT / "mkdocs.yml").read_text()
    pages = [str(page.relative_to(ROOT / "docs")) for page in PAGES if page.is_relative_to(ROOT / "docs")]
    assert [page for page in pages if f" {page}\n" not in nav] == []


def test_what_only_the_site_has_is_made(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "site"))
    import hooks  # beside the pages, since the site is built with it

    named = {name for page in PAGES for name in hooks.AT_BUILD.findall(page.read_text())}
    assert named == set(hooks.PARTS)
    for name in named:
        assert len(list(hooks.PARTS[name]())) > 3, name
