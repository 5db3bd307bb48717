"""Every code block of the pages is run, page by page and in order, or says why it is not."""

import functools
import re

import pytest
import yaml
from PIL import Image

import embedshift
from embedshift.registry import METRICS
from embedshift.sources.demo import copy_photos
from support.pages import DATA, PAGES, PYTHON, SHELL, TEXT, blocks, commands, page_id
from support.reading import Reader, studies_to_read
from support.tokenizers_made import make_clip

pytestmark = pytest.mark.slow

SIDE = 64
ENCODES = ("embedshift run", "embedshift attack")
WITH_CODE = [page for page in PAGES if any(each.is_code and each.reason is None for each in blocks(page.read_text()))]


def marks_of(page):
    """A page that measures a study, plans, tries codes or loads encoders takes seconds: `make test-all` reads them."""
    code = "\n".join(block.text for block in blocks(page.read_text()) if block.is_code and block.reason is None)
    takes_seconds = re.search(
        r"^embedshift (?:run|attack|power|index|threshold|app) |embedshift\.run\(", code, re.MULTILINE
    )
    return [pytest.mark.matrix] * bool(takes_seconds)


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """The eight photographs of the demo, small; a tiny encoder; studies."""
    folder = tmp_path_factory.mktemp("ready")
    for path in copy_photos(folder / "photos").iterdir():
        with Image.open(path) as image:
            image.convert("RGB").resize((SIDE, SIDE)).save(path)
    return folder / "photos", studies_to_read(folder), make_clip(folder / "model")


@pytest.fixture
def reader(ready, tmp_path, monkeypatch, cli):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._filled()))  # without those that a page adds
    monkeypatch.setattr(embedshift, "run", functools.partial(embedshift.run, workers=0))
    return Reader(tmp_path, *ready, cli)


@pytest.mark.parametrize("page", [pytest.param(page, marks=marks_of(page), id=page_id(page)) for page in WITH_CODE])
def test_blocks_run_in_order(page, reader):
    assert len(WITH_CODE) > 20
    to_run = [block for block in blocks(page.read_text()) if block.reason is None]
    for block in to_run:
        reader.read(block, page_id(page))
    assert {block.language for block in to_run} & {*PYTHON, *SHELL}, "the reader runs no other"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_a_block_has_a_language_its_marker_a_reason_and_a_command_that_downloads_its_encoder(page):
    text = page.read_text()
    found = list(blocks(text))
    for block in found:
        assert block.language in (*PYTHON, *SHELL, *DATA, *TEXT), f"line {block.line}: {block.language}"
        assert block.reason != "", f"line {block.line}: say why the block is not run"
        if block.language == "yaml":
            yaml.safe_load(block.text)
    markers = [line for line in text.splitlines() if line.lstrip().startswith("<!-- not run")]
    marked = [block for block in found if block.reason is not None]
    assert len(markers) == len(marked), "a marker stands right before its block"
    lines = [line for block in found if block.language in SHELL for line in commands(block.text)]
    assert [line for line in lines if line.startswith(ENCODES) and "--model" not in line] == []
