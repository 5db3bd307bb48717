"""Brings the programs that tests start: a browser for pages, and PostgreSQL with pgvector.

What is there is used; else a browser is Playwright's; else, as root, both are Debian's packages. Writes a file, its
argument, where both are there.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from playwright.sync_api import Error

from support import LEFT_OUT, postgresql
from support.chromium import launched


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


def downloaded() -> bool:
    """Whether Playwright brings a browser that starts."""
    print("no Chromium: Playwright downloads one into the user's cache", flush=True)
    return run(sys.executable, "-m", "playwright", "install", "--only-shell", "chromium") and starts()


def installed(is_there: Callable[[], object], *packages: str) -> bool:
    """Whether a program is there, now or from Debian's packages from now on."""
    if is_there():
        return True
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    print(f"apt-get installs {', '.join(packages)}", flush=True)
    apt = ("apt-get", "-o", "DPkg::Lock::Timeout=300")
    return run(*apt, "update", "-qq") and run(*apt, "install", "-y", "-qq", *packages) and bool(is_there())


if __name__ == "__main__":
    left_out = []
    if not (starts() or downloaded() or installed(starts, "chromium")):
        left_out.append(f"the tests of pages are left out: {LEFT_OUT}")
    if not installed(postgresql.programs, "postgresql-17", "postgresql-17-pgvector"):
        left_out.append(f"the tests of PostgreSQL are left out: {postgresql.LEFT_OUT}")
    print(*left_out, sep="\n")
    if not left_out:
        Path(sys.argv[1]).touch()
    elif os.environ.get("CI"):
        sys.exit(1)
