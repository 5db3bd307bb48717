"""Being here, this file puts `tests/` on the path: `from support.synthetic import make_study`."""

import functools
import gc
import importlib.metadata
import os
import resource
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
import typer.main

from embedshift.sources import remember_roots
from support import LEFT_OUT, command, once

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

gc.disable()  # while modules are imported: nothing of them is garbage


def pytest_collection_finish() -> None:
    """From here on only what tests make is looked at: going through all modules again and again takes long."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts files with slow tests first: if one of them began last, the other processes would wait."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints tests without a browser, and the time of all processes; those of xdist have ended, with their own."""
    used = [resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    left_out = [report for report in terminalreporter.stats.get("skipped", []) if LEFT_OUT in str(report.longrepr)]
    if left_out:
        terminalreporter.write_line(f"{len(left_out)} tests of pages were left out: {LEFT_OUT}")
    terminalreporter.write_line(f"{sum(each.ru_utime + each.ru_stime for each in used):.0f} s of processor time")


@pytest.fixture(scope="session", autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Roots of images and what is kept of encoders lie in folders of the tests, not in those of whoever runs them."""
    run = tmp_path_factory.getbasetemp()
    once.root = (run.parent if "PYTEST_XDIST_WORKER" in os.environ else run) / "made-once"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.setenv("EMBEDSHIFT_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("RAY_worker_niceness", "0")  # Ray's 15 would leave its workers nothing beside another test
        patch.setenv("RAY_AUTH_TOKEN", uuid.uuid4().hex)  # else Ray writes one into the home folder
        patch.delenv("COLUMNS", raising=False)  # the width of a terminal, by which tables lose columns
        # A disk that is waited for some 40 times a study: no test cuts the power.
        patch.setattr("os.fsync", lambda descriptor: None)
        patch.setattr("importlib.metadata.version", functools.cache(importlib.metadata.version))
        # The commands of the command line, which a process asks for once, and the tests some thousand times.
        patch.setattr("typer.main.get_command", functools.cache(typer.main.get_command))
        # Counting the million objects that were frozen above takes a tenth of a second, for each model that is loaded.
        patch.setattr("gc.get_freeze_count", lambda: 1)
        remember_roots({"root": str(once.root)})
        yield


@pytest.fixture(scope="module", autouse=True)
def as_it_was_made() -> Iterator[None]:
    """No test changes what other files read."""
    yield
    assert once.changed() == []


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """A command that a failing test was about to end, ends."""
    yield
    command.end_started()


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """A browser, which ends with its module: Playwright keeps a running event loop, and takes one browser at a time."""
    from support.chromium import started

    with started() as instance:
        yield instance


@pytest.fixture
def open_page(browser: "Browser") -> "Iterator[Callable[..., Page]]":
    """Opens pages in the browser: nothing may go wrong on any, and nothing be asked of another place."""
    from support.chromium import watching

    with watching(browser) as opened:
        yield opened


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., command.Done]:
    """The command line: arguments → its exit code and what it printed."""

    def run(*arguments: object) -> command.Done:
        return command.call(monkeypatch, capsys, *arguments)

    return run
