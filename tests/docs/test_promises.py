"""The tests that the pages name for their promises are there, and `make test` runs them."""

import ast
import functools
import re

import pytest

from support.pages import PAGES, ROOT

NAMED = re.compile(r"\b((?:tests|benchmarks|examples)/[\w/]+\.py)(?:::(\w+))?")
ALL = sorted({named for page in PAGES for named in NAMED.findall(page.read_text())})
TESTS = [(path, test) for path, test in ALL if re.match(r"tests/.*/test_\w+\.py", path)]


@functools.cache
def marks_of(path):
    """Each test of a file → whether `make test` runs it; of a matrix, it runs the first case."""
    tree = ast.parse((ROOT / path).read_text())
    assigned = [line for line in tree.body if isinstance(line, ast.Assign)]
    marks = [line.value for line in assigned if ast.unparse(line.targets[0]) == "pytestmark"]
    functions = [part for part in tree.body if isinstance(part, ast.FunctionDef) and part.name.startswith("test_")]
    return {part.name: not any(map(is_matrix, [*marks, *part.decorator_list])) for part in functions}


def is_matrix(mark):
    listed = mark.elts if isinstance(mark, ast.List) else [mark]
    return "pytest.mark.matrix" in map(ast.unparse, listed)


def missing(path, test=""):
    """Why a promise has no test in `make test`; "" where it has one."""
    if not (ROOT / path).is_file():
        return "no such file"
    if test and test not in marks_of(path):
        return "no such test"
    run = [test] if test else marks_of(path)
    return "" if any(marks_of(path)[name] for name in run) else "only in make test-all"


@pytest.mark.parametrize("named", TESTS, ids=[f"{path}::{test}".removesuffix("::") for path, test in TESTS])
def test_a_promise_has_its_test(named):
    assert missing(*named) == ""


def test_what_else_the_pages_name_is_there():
    others = {path for path, _ in set(ALL) - set(TESTS)}
    assert len(others) > 10
    assert [path for path in sorted(others) if not (ROOT / path).is_file()] == []


def test_the_pages_of_promises_name_many():
    assert len({path for path, _ in TESTS}) > 40
    for page in ("docs/verified.md", "SECURITY.md"):
        assert len(NAMED.findall((ROOT / page).read_text())) > 8


def test_a_promise_without_a_test_would_be_seen(tmp_path, monkeypatch):
    (tmp_path / "some.py").write_text("@pytest.mark.matrix\ndef test_a(): ...\n\n\ndef test_b(): ...\n")
    (tmp_path / "none.py").write_text("pytestmark = [pytest.mark.slow, pytest.mark.matrix]\n\n\ndef test_a(): ...\n")
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    assert missing("some.py") == missing("some.py", "test_b") == ""
    assert missing("some.py", "test_a") == missing("none.py") == "only in make test-all"
    assert missing("some.py", "test_c") == "no such test"
    assert missing("other.py") == "no such file"
