"""A warning of NumPy's is a failure: what is no number is expected here, and a user would read the warning."""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("error::RuntimeWarning"))
