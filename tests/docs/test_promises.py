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


@pytest.mark.parametrize(("path", "test"), TESTS, ids=[f"{path}::{test}".removesuffix("::") for path, test in TESTS])
def test_a_promise_has_its_test(path, test):
    assert not test or test in marks_of(path)
    assert any(is_run for name, is_run in marks_of(path).items() if test in ("", name)), "only in make test-all"


def test_what_else_the_pages_name_is_there_and_the_pages_of_promises_name_many():
    assert [path for path, _ in ALL if not (ROOT / path).is_file()] == []
    assert len({path for path, _ in TESTS}) > 40
    for page in ("docs/verified.md", "SECURITY.md"):
        assert len(NAMED.findall((ROOT / page).read_text())) > 8
