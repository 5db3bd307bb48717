"""Python text in a process of its own."""

import subprocess
import sys
import textwrap


def run_python(text: str, *arguments: str) -> str:
    """Runs Python text in a new process, and gives what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
