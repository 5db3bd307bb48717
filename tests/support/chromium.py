"""The browser of the tests: headless Chromium, which asks nobody for anything."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from playwright.sync_api import Browser, Error, sync_playwright

from support import LEFT_OUT

FLAGS = (
    "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync "
    "--no-first-run --disable-quic"
)
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@contextmanager
def launched() -> Iterator[Browser]:
    """The browser of this machine, else the one that Playwright downloaded; Playwright's error where there is none."""
    names = (os.environ.get("CHROMIUM"), *NAMES)
    path = next((path for name in names if name and (path := shutil.which(name))), None)
    # With a home of its own, since that of the user may be read-only.
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as home:
        environment: dict[str, str | float | bool] = {**os.environ, "HOME": home}
        instance = driver.chromium.launch(executable_path=path, args=FLAGS.split(), env=environment)
        yield instance
        instance.close()


@contextmanager
def started() -> Iterator[Browser]:
    """A browser; where there is none its tests are left out, and fail in CI."""
    with ExitStack() as stack:
        try:
            instance = stack.enter_context(launched())
        except Error:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(LEFT_OUT)
        yield instance
