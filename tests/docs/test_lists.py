"""The lists in the pages are what the package declares."""

import os
import subprocess
import sys

import pytest

from support.pages import PAGES, ROOT

LISTS = ROOT / "docs" / "site" / "lists.py"


@pytest.mark.slow
def test_every_list_in_a_page_is_what_the_code_gives():
    """In a process of its own: other tests register metrics and augmentations."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, LISTS, "--check"], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_every_list_stands_in_one_page(monkeypatch):
    monkeypatch.syspath_prepend(str(LISTS.parent))
    import lists

    texts = [page.read_text() for page in PAGES]
    named = [place["name"] for text in texts for place in lists.PLACE.finditer(text)]
    assert sorted(named) == sorted(lists.LISTS)
    assert sum(text.count("\n<!-- made: ") for text in texts) == len(named), "a list ends with <!-- end -->"


def test_an_old_list_would_be_seen(monkeypatch):
    monkeypatch.syspath_prepend(str(LISTS.parent))
    import lists

    page = "# A page\n\n<!-- made: purifiers -->\n\nold\n\n<!-- end -->\n\nits text\n"
    now = lists.written(page)
    assert now.startswith("# A page\n\n<!-- made: purifiers -->\n\n| purifier |")
    assert now.endswith(" |\n\n<!-- end -->\n\nits text\n")
    assert "old" not in now
    assert lists.written(now) == now
