"""What stands in the pages: links that resolve, a first screen, the navigation, and lists that the package declares."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.pages import FENCE, PAGES, ROOT, anchors, links, page_id

SITE = ROOT / "docs" / "site"
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


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_inside_resolve_and_evidence_stands_last(page):
    """A reader finds how to do a task before the studies that show how well it works."""
    inside = [target for target in links(page.read_text()) if "://" not in target]
    assert {target: why for target in inside if (why := broken(page, target))} == {}
    heads = [line for line in FENCE.sub("", page.read_text()).splitlines() if line.startswith("## ")]
    assert "## How this was verified" not in heads[:-1]


def test_links_outside_are_the_addresses_of_the_list():
    found = {target for page in PAGES for target in links(page.read_text()) if "://" in target}
    assert sorted(found) == EXTERNAL, "tests/docs/external_links.txt lists every link to another site, sorted"
    assert [link for link in EXTERNAL if urlsplit(link).scheme != "https" or not link.isascii()] == []


def test_the_readme_is_two_screens_the_first_for_who_installs_and_then_who_cloned():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 100
    assert len(text.split()) < 900
    screen = "\n".join(text.splitlines()[:30])
    steps = ["report.png", "pip install", "embedshift demo", "embedshift run", "make demo", "make test"]
    places = [screen.find(step) for step in steps]
    assert places[0] > -1
    assert places == sorted(places)


def test_every_page_is_in_the_navigation():
    nav = (ROOT / "mkdocs.yml").read_text()
    pages = [str(page.relative_to(ROOT / "docs")) for page in PAGES if page.is_relative_to(ROOT / "docs")]
    assert [page for page in pages if f" {page}\n" not in nav] == []


@pytest.mark.slow
def test_every_list_in_a_page_is_what_the_code_gives():
    """In a process of its own: other tests register metrics and augmentations."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])}
    line = [sys.executable, SITE / "lists.py", "--check"]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_every_list_and_every_part_that_only_the_site_has_stands_in_one_page(monkeypatch):
    monkeypatch.syspath_prepend(str(SITE))
    import hooks
    import lists

    texts = [page.read_text() for page in PAGES]
    assert sorted(place["name"] for text in texts for place in lists.PLACE.finditer(text)) == sorted(lists.LISTS)
    assert sum(text.count("\n<!-- made: ") for text in texts) == len(lists.LISTS), "a list ends with <!-- end -->"
    assert sorted(name for text in texts for name in hooks.AT_BUILD.findall(text)) == sorted(hooks.PARTS)
