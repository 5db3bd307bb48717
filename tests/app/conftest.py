"""A study of twelve images by an encoder of mean colours, and the page that shows it."""

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from playwright.sync_api import Page

import embedshift
from embedshift.app.measured import PageEncoder, encoder_from_photos, encoder_from_study
from embedshift.app.server import serving
from embedshift.encoders import ENCODERS
from embedshift.store.reader import Reader
from support.mean_colour import MeanColour
from support.models import pictures

NAME = "mean-colour-of-the-page"


@pytest.fixture(scope="session")
def encoder() -> str:
    """The name of the encoder."""
    if NAME not in ENCODERS:
        ENCODERS.add(NAME, lambda **_settings: MeanColour())
    return NAME


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("app") / "photos", 12)


@pytest.fixture(scope="session")
def reader(photos: Path, encoder: str) -> Reader:
    """The study, as a run left it."""
    return embedshift.run(photos, out=photos.parent / "study", model=encoder, seed=3, workers=0).reader()


@pytest.fixture(scope="session")
def of_study(reader: Reader) -> PageEncoder:
    return encoder_from_study(reader)


@pytest.fixture(scope="session")
def of_photos(photos: Path, encoder: str) -> PageEncoder:
    return encoder_from_photos(sorted(photos.iterdir()), encoder)


@pytest.fixture(scope="session")
def page_module() -> ModuleType:
    """Imported by who needs it: Gradio takes two seconds."""
    return importlib.import_module("embedshift.app.page")


@pytest.fixture(scope="session")
def served(page_module: ModuleType, of_study: PageEncoder, reader: Reader) -> Iterator[str]:
    """The address of the page with the study."""
    with serving(lambda: page_module.make_page([of_study], reader)) as (address, _):
        yield address


@pytest.fixture
def visit(open_page: Callable[..., Page], served: str) -> Callable[..., Page]:
    """Opens the page."""

    def opened(width: int = 1280, scheme: str = "light", address: str = served, ready: str = "#upload button") -> Page:
        page = open_page(address, width=width, scheme=scheme)
        page.wait_for_selector(ready, state="attached")
        return page

    return opened
