"""Matrices: many cases of one promise, of which `make test` runs the first and `make test-all` all."""

from collections.abc import Iterable
from typing import Any

import pytest


def first_only(cases: Iterable[Any]) -> list[Any]:
    """The cases for `pytest.mark.parametrize`; all but the first are marked `matrix`.

    Example:
        >>> [getattr(case, "marks", ()) == () for case in first_only(["a", "b", ("c", 1)])]
        [True, False, False]
    """
    first, *others = cases
    return [first, *map(_in_matrix, others)]


def _in_matrix(case: Any) -> Any:
    if hasattr(case, "marks"):  # it is a `pytest.param`
        return case._replace(marks=(*case.marks, pytest.mark.matrix))
    return pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.matrix)
