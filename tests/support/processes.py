"""Python text in a process of its own."""

import subprocess
import sys
import textwrap


def run_python(text: str, *arguments: str, timeout: float | None = None) -> str:
    """Runs Python text in a new process, and gives what it printed."""
    command = [sys.executable, "-c", textwrap.dedent(text), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)
    assert done.returncode == 0, done.stderr
    return done.stdout
