"""Every code block of the pages is run, page by page and in order, or says why it is not."""

import functools
import re
from pathlib import Path

import pytest
import yaml
from PIL import Image

import embedshift
from embedshift.sources.demo import copy_photos
from support.pages import DATA, PAGES, PYTHON, ROOT, SHELL, TEXT, Block, blocks, commands
from support.reading import Reader, studies_to_read
from support.tokenizers_made import make_clip

pytestmark = pytest.mark.slow

SIDE = 64
ENCODES = ("embedshift run", "embedshift attack")
WITH_CODE = [page for page in PAGES if any(each.is_code and each.reason is None for each in blocks(page.read_text()))]


def page_id(page):
    return str(page.relative_to(ROOT))


def marks_of(page):
    """A page that measures a study takes a second or more: `make test-all` reads them."""
    code = "\n".join(block.text for block in blocks(page.read_text()) if block.is_code and block.reason is None)
    return [pytest.mark.matrix] * bool(re.search(r"^embedshift (?:run|attack) |embedshift\.run\(", code, re.M))


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
    monkeypatch.setattr(embedshift, "run", functools.partial(embedshift.run, workers=0))
    return Reader(tmp_path, *ready, cli)


@pytest.mark.parametrize("page", [pytest.param(page, marks=marks_of(page), id=page_id(page)) for page in WITH_CODE])
def test_blocks_run_in_order(page, reader):
    to_run = [block for block in blocks(page.read_text()) if block.reason is None]
    for block in to_run:
        reader.read(block, page_id(page))
    assert {block.language for block in to_run} & {*PYTHON, *SHELL}, "the reader runs no other"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_block_has_a_language_and_a_marker_its_reason(page):
    text = page.read_text()
    found = list(blocks(text))
    for block in found:
        assert block.language in (*PYTHON, *SHELL, *DATA, *TEXT), f"line {block.line}: {block.language}"
        assert block.reason != "", f"line {block.line}: say why the block is not run"
        if block.language == "yaml":
            yaml.safe_load(block.text)
    marked = [block for block in found if block.reason is not None]
    markers = [line for line in text.splitlines() if line.lstrip().startswith("<!-- not run")]
    assert len(markers) == len(marked), "a marker stands right before its block"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_a_command_that_encodes_names_its_encoder(page):
    """The default is downloaded: who copies a line should see what it takes."""
    shell = [block for block in blocks(page.read_text()) if block.language in SHELL]
    lines = [line for block in shell for line in commands(block)]
    assert [line for line in lines if line.startswith(ENCODES) and "--model" not in line] == []


def test_a_page_runs_only_what_it_can():
    assert len(WITH_CODE) > 20
    assert {block.language for page in PAGES for block in blocks(page.read_text())} > {"python", "sh", "yaml", "text"}


@pytest.mark.parametrize(
    ("language", "text", "error"),
    [
        ("python", "study.no_such_table()", NameError),
        ("python", 'import embedshift\nembedshift.load("study").table("no_such_table")', Exception),
        ("sh", "embedshift run photos/ --no-such-option", AssertionError),
        ("sh", "embedshift search study --queries some", AssertionError),
        ("sh", "pip install 'embedshift[no_such_extra]'", AssertionError),
        ("sh", "rm photos", AssertionError),
    ],
)
def test_a_block_that_does_not_work_would_be_seen(language, text, error, reader):
    with pytest.raises(error):
        reader.read(Block(1, language, text, None), "page.md")


def test_what_the_blocks_of_a_page_make_is_there_for_the_next(reader):
    reader.read(Block(1, "sh", "embedshift run photos/ --out study --model any  # first", None), "page.md")
    reader.read(Block(5, "python", 'import embedshift\nstudy = embedshift.load("study")', None), "page.md")
    reader.read(Block(9, "python", "count = len(study.summary())", None), "page.md")
    assert reader.namespace["count"] > 0
    assert Path("study/study.json").exists()
    assert not Path("study/report.html").exists()
