"""The browser of the tests: headless Chromium, which asks nobody for anything."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

FLAGS = (
    "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync "
    "--no-first-run --disable-quic"
)


def chromium() -> str:
    """The browser's path; where there is none the test fails with the line that installs it."""
    names = [os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"]
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        pytest.fail("no Chromium on the PATH or in $CHROMIUM; install it: apt-get install chromium", pytrace=False)
    return found


@contextmanager
def started() -> Iterator[Browser]:
    with sync_playwright() as driver:
        instance = driver.chromium.launch(executable_path=chromium(), args=FLAGS.split())
        yield instance
        instance.close()
