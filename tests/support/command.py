"""The command line as scripts use it: in this process through its own `main`, and as a process of its own."""

import importlib
import logging
import os
import signal
import subprocess
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# By its name, since the package calls the object in it `app` too.
cli = importlib.import_module("embedshift.cli.app")
STARTED: list[subprocess.Popen[str]] = []


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line of an error: nothing on stdout, nothing else that stands out on stderr."""
        lines = [line for line in self.err.splitlines() if line.strip()]
        assert self.out == ""
        assert "Traceback" not in self.err
        assert sum(line.startswith("error: ") for line in lines) == 1, self.err
        assert lines[-1].startswith("error: ")
        return lines[-1]


@contextmanager
def untouched_logging() -> Iterator[None]:
    """The command sets up logging for a process of its own."""
    root, own = logging.getLogger(), logging.getLogger("embedshift")
    handlers, level, own_level = root.handlers[:], root.level, own.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        own.setLevel(own_level)
        logging.captureWarnings(False)


def call(monkeypatch: Any, capsys: Any, *arguments: object) -> Done:
    """`embedshift ARGUMENTS` in this process."""

    def leave(code: int) -> None:
        raise SystemExit(code)

    # Only as the command sees it: loader processes end by the real one.
    monkeypatch.setattr(cli, "os", types.SimpleNamespace(**(vars(os) | {"_exit": leave})))
    monkeypatch.setattr(sys, "argv", ["embedshift", *map(str, arguments)])
    capsys.readouterr()
    with untouched_logging():
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
    return Done(code, *capsys.readouterr())


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"COLUMNS": "200"} | more


def start(*arguments: object, **more: str) -> subprocess.Popen[str]:
    """`embedshift ARGUMENTS` as a process and a group of its own."""
    return start_python("from embedshift.cli import main; main()", *arguments, **more)


def start_python(program: str, *arguments: object, **more: str) -> subprocess.Popen[str]:
    """A Python text that calls the command's `main`, as a process and a group of its own; it knows `support`."""
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=environment(PYTHONPATH=path, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_default_signals,
    )
    STARTED.append(process)
    return process


def _default_signals() -> None:
    """Signals act whatever started the tests: `nohup` ignores SIGHUP, a background job of a script SIGINT."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def end_started() -> None:
    """Ends the processes that a test has left behind, with all that they started: the next would meet them."""
    for process in STARTED:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    STARTED.clear()


def finish(process: subprocess.Popen[str], timeout: float = 120) -> Done:
    out, err = process.communicate(timeout=timeout)
    return Done(process.returncode, out, err)
