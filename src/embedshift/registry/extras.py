"""What the base is installed without: OpenCV at its first use, and one line where the extra `encode` is missing."""

import contextlib
import importlib.metadata
import importlib.util
from collections.abc import Iterable
from typing import Any

from embedshift.errors import MissingExtra


class _AtFirstUse:
    def __init__(self, package: str) -> None:
        self._package = package

    def __getattr__(self, name: str) -> Any:
        need_encode("reading or changing images")
        value = getattr(importlib.import_module(self._package), name)
        setattr(self, name, value)
        return value


# OpenCV, for all modules of this package: those of the base import them, too.
cv2: Any = _AtFirstUse("cv2")


def need_encode(what: str) -> None:
    """Raises MissingExtra if a package of the extra `encode` is not installed.

    Args:
        what: The feature that needs it, in the singular.

    Example:
        >>> need_encode("measuring images")
    """
    if not has_encode():
        raise MissingExtra(what, "encode")


def has_encode() -> bool:
    """Returns whether images can be read and encoded here, without importing what does it."""
    return all(map(importlib.util.find_spec, ("cv2", "torch", "transformers")))


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Returns the versions of those packages that are installed."""
    found: dict[str, str] = {}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
