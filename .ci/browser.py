"""Brings a browser for the tests of pages: one that is there, else Playwright's, else as root that of Debian.

Writes a file, its argument, where there is one.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from playwright.sync_api import Error

from support import LEFT_OUT
from support.chromium import launched

APT = ("apt-get update -qq", "apt-get install -y -qq chromium")


def starts() -> bool:
    """Whether a browser starts: one that was downloaded may lack libraries of the system."""
    try:
        with launched():
            return True
    except Error:
        return False


def run(*command: str) -> bool:
    """Whether a command succeeds; its output is the reason for what comes next, and nobody's."""
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def bring() -> bool:
    """Whether there is a browser, now or from now on."""
    if starts():
        return True
    print("no Chromium: Playwright downloads one into the user's cache", flush=True)
    if run(sys.executable, "-m", "playwright", "install", "--only-shell", "chromium") and starts():
        return True
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print("no Chromium: apt-get installs Debian's package", flush=True)
        return all(run(*step.split()) for step in APT) and starts()
    return False


if __name__ == "__main__":
    if bring():
        Path(sys.argv[1]).touch()
    else:
        print(f"the tests of pages are left out: {LEFT_OUT}")
        sys.exit(1 if os.environ.get("CI") else 0)
