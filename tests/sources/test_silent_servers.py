"""A server that accepts and never answers ends a run within a time limit, with one line."""

import threading
import time

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from embedshift.errors import UsageError
from embedshift.sources import open_source, web
from embedshift.sources.web import answered
from support.matrix import first_only


class Silent(MemoryFileSystem):
    """A file system whose server is silent whatever it is asked, or only about one thing."""

    protocol = "silent"
    about = frozenset({"isdir", "isfile", "open"})
    ended = threading.Event()

    def _ask(self, what):
        if what in self.about:
            self.ended.wait(60)

    def isdir(self, path):
        self._ask("isdir")
        return False

    def isfile(self, path):
        self._ask("isfile")
        return True

    def open(self, path, mode="rb", **more):
        self._ask("open")
        return super().open(path, mode, **more)


@pytest.fixture
def silent(monkeypatch):
    monkeypatch.setattr(web, "ANSWER", 0.5)
    fsspec.register_implementation("silent", Silent, clobber=True)
    Silent.ended.clear()
    yield monkeypatch
    Silent.ended.set()


@pytest.mark.slow
@pytest.mark.parametrize("about", first_only([{"isdir", "isfile", "open"}, {"isfile"}]))
@pytest.mark.parametrize("name", ["images/", "a.jpg"])
def test_a_silent_server_is_one_line(silent, name, about):
    silent.setattr(Silent, "about", frozenset(about))
    started = time.monotonic()
    words = rf"^silent://host/{name}: its server did not answer in 0\.5 s; check the address, or try later$"
    with pytest.raises(UsageError, match=words):
        open_source([f"silent://host/{name}"])
    assert time.monotonic() - started < 10


@pytest.mark.slow
@pytest.mark.parametrize("name", first_only(["a.tar", "a.parquet"]))
def test_a_silent_server_of_an_archive_is_one_line(silent, name):
    with pytest.raises(UsageError, match=rf"^silent://host/{name}: its server did not answer in 0\.5 s; check"):
        open_source([f"silent://host/{name}"])


def test_an_answer_in_time_is_the_answer(silent):
    assert answered(lambda: 3) == 3
    assert answered(lambda: None) is None
    with pytest.raises(ZeroDivisionError):
        answered(lambda: 1 / 0)
